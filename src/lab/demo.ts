/** Two phones, one call, a leader that dies. */
export async function runDemo(_options: object, _write: (text: string) => void): Promise<boolean> {
  return false;
}
