/** Who has a floating media address: `media-address:{address}` in the store. Pure. */

export const addressPrefix = 'media-address:';

export function addressKey(address: string): string {
  return `${addressPrefix}${address}`;
}

/** The value: a server, and which start of it. */
export function ownerOf(name: string, life: string): string {
  return `${name}/${life}`;
}

/** Whether it is any life of this server. */
export function isOwnedBy(owner: string, name: string): boolean {
  return owner.startsWith(`${name}/`);
}
