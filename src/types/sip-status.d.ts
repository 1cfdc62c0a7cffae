/** The names of statuses by which drachtio-srf knows what it may send. */
declare module 'sip-status' {
  const names: Record<number, string>;
  export default names;
}
