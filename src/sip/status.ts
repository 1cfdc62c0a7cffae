/** Final and provisional statuses as phones send them and as drachtio-srf lets us send them. */

const known = new Set([
  100, 180, 181, 182, 183, 199, 200, 202, 204, 400, 401, 402, 403, 404, 405, 406, 407, 408, 410,
  412, 413, 414, 415, 416, 417, 420, 421, 422, 423, 429, 430, 433, 436, 437, 438, 439, 440, 469,
  480, 481, 482, 483, 484, 485, 486, 487, 488, 489, 491, 493, 494, 500, 501, 502, 503, 504, 505,
  513, 580, 600, 603, 604, 606,
]);

/**
 * A status that can be sent on: an unknown one is as good as the x00 of its class (RFC 3261
 * section 8.1.3.2), 183 for a provisional one, and nonsense is a server failure.
 */
export function sendableStatus(status: number): number {
  if (known.has(status)) {
    return status;
  }
  if (status > 100 && status < 200) {
    return 183;
  }
  const base = Math.floor(status / 100) * 100;
  return known.has(base) ? base : 500;
}
