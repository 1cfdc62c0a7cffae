/**
 * Stands for `RTCPeerConnection` in the page: describes plain RTP at an address outside the
 * browser instead of ICE and DTLS, so that a phone in a browser can call any other. Everything
 * that speaks SIP stays JsSIP's own.
 */

export interface PlainAudio {
  address: string;
  port: number;
}

interface Description {
  type: 'offer' | 'answer';
  sdp: string;
}

export class PlainPeer extends EventTarget {
  /** Where the page says that it listens. */
  static audio: PlainAudio = { address: '0.0.0.0', port: 9 };

  readonly iceConnectionState = 'connected';
  readonly iceGatheringState = 'complete';
  signalingState: 'stable' | 'have-local-offer' | 'have-remote-offer' = 'stable';
  localDescription: Description | null = null;
  remoteDescription: Description | null = null;
  #version = 0;

  createOffer(): Promise<Description> {
    return Promise.resolve({ type: 'offer', sdp: this.#describe() });
  }

  createAnswer(): Promise<Description> {
    return Promise.resolve({ type: 'answer', sdp: this.#describe() });
  }

  setLocalDescription(description: Description): Promise<void> {
    this.localDescription = description;
    this.signalingState = description.type === 'offer' ? 'have-local-offer' : 'stable';
    return Promise.resolve();
  }

  setRemoteDescription(description: Description): Promise<void> {
    this.remoteDescription = description;
    this.signalingState = description.type === 'offer' ? 'have-remote-offer' : 'stable';
    return Promise.resolve();
  }

  getSenders(): never[] {
    return [];
  }

  close(): void {
    this.signalingState = 'stable';
  }

  #describe(): string {
    this.#version += 1;
    const { address, port } = PlainPeer.audio;
    return [
      'v=0',
      `o=browser 1 ${this.#version} IN IP4 ${address}`,
      's=-',
      `c=IN IP4 ${address}`,
      't=0 0',
      `m=audio ${port} RTP/AVP 0`,
      'a=rtpmap:0 PCMU/8000',
      'a=sendrecv',
      '',
    ].join('\r\n');
  }
}
