/** Requests that one party of a call sends the other through us. */
import type { Dialog, SipRequest, SipResponse } from '../../sip/srf.ts';
import { sendableStatus } from '../../sip/status.ts';

/** Sends a request on as it is, to a party that may be gone, and its answer back. */
export function passOn(other: Dialog | undefined, req: SipRequest, res: SipResponse): void {
  if (other === undefined) {
    res.send(481);
    return;
  }
  const type = req.get('Content-Type');
  const options = {
    method: req.method,
    headers: type === undefined ? {} : { 'Content-Type': type },
    ...(req.body ? { body: req.body } : {}),
  };
  other.request(options, (error, response) => {
    res.send(error ? 500 : sendableStatus(response.status));
  });
}
