/*
 * Codecs that raftpbx does not bring along, as a shared library (`media.codecs`).
 *
 * The library exports one function, `raftpbx_codecs`. It is asked once, when the media server
 * starts, and never unloaded. A state is used by one thread at a time, different states by
 * different threads at once; nothing here may wait. Payloads come from strangers.
 */
#ifndef RAFTPBX_CODEC_H
#define RAFTPBX_CODEC_H

#include <stdint.h>

/* Changes whenever what stands below does. */
#define RAFTPBX_CODEC_ABI 1

struct raftpbx_codec {
    /* RAFTPBX_CODEC_ABI, as the library was built. */
    uint32_t abi;
    /* Clock of RTP timestamps, Hz, as in `a=rtpmap`. */
    uint32_t clock_hz;
    /* Rate of samples, Hz: 8000, 16000 or 48000. */
    uint32_t rate_hz;
    /* Sound in a frame, ms, 1 to 60; payloads hold whole frames. */
    uint32_t frame_ms;
    /* Payload type that needs no `a=rtpmap`, or -1. */
    int32_t payload_type;
    /* As in `a=rtpmap`: "G729". At most 32 letters, digits, '-', '_' or '.'. */
    const char *name;
    /* What stands behind the payload type in `a=fmtp`, or NULL. */
    const char *fmtp;

    /* A new state, or NULL when there is no memory. */
    void *(*open)(void);
    /* Its end. */
    void (*close)(void *state);
    /* Reads a payload into `pcm`, which has room for so many samples: how many there are, or a
     * negative number when the payload is malformed or does not fit. */
    int32_t (*decode)(void *state, const uint8_t *payload, uint32_t bytes, int16_t *pcm,
                      uint32_t room);
    /* Writes samples, whole frames, as a payload of at most `room` bytes: its length, or a negative
     * number when it does not fit. 0: nothing is to be sent (the sender is silent). */
    int32_t (*encode)(void *state, const int16_t *pcm, uint32_t samples, uint8_t *payload,
                      uint32_t room);
    /* Fills `pcm` in place of a lost packet; 0 when that was done. NULL: raftpbx does it. */
    int32_t (*conceal)(void *state, int16_t *pcm, uint32_t samples);
};

/*
 * The codecs of the library, behind the last one NULL; they stay where they are. NULL when the
 * library does not know this ABI.
 */
const struct raftpbx_codec *const *raftpbx_codecs(uint32_t abi);

#endif
