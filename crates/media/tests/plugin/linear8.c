/* The smallest codec there is, for tests and to begin with: the upper 8 bits of each sample. */
#include <stdlib.h>

#include "raftpbx_codec.h"

#define FRAME_SAMPLES 80

struct state {
    uint64_t frames;
};

static void *open_state(void) {
    return calloc(1, sizeof(struct state));
}

static int32_t decode(void *state, const uint8_t *payload, uint32_t bytes, int16_t *pcm,
                      uint32_t room) {
    if (bytes > room || bytes % FRAME_SAMPLES != 0) {
        return -1;
    }
    for (uint32_t n = 0; n < bytes; n++) {
        pcm[n] = (int16_t)((payload[n] - 128) * 256);
    }
    ((struct state *)state)->frames += bytes / FRAME_SAMPLES;
    return (int32_t)bytes;
}

static int32_t encode(void *state, const int16_t *pcm, uint32_t samples, uint8_t *payload,
                      uint32_t room) {
    if (samples > room || samples % FRAME_SAMPLES != 0) {
        return -1;
    }
    for (uint32_t n = 0; n < samples; n++) {
        payload[n] = (uint8_t)(pcm[n] / 256 + 128);
    }
    ((struct state *)state)->frames += samples / FRAME_SAMPLES;
    return (int32_t)samples;
}

/* Tests make libraries whose only codec has another name. */
#ifndef CODEC_NAME
#define CODEC_NAME "X-LINEAR8"
#endif

static const struct raftpbx_codec linear8 = {
    .abi = RAFTPBX_CODEC_ABI,
    .clock_hz = 8000,
    .rate_hz = 8000,
    .frame_ms = 10,
    .payload_type = 18,
    .name = CODEC_NAME,
    .fmtp = "level=8",
    .open = open_state,
    .close = free,
    .decode = decode,
    .encode = encode,
};

const struct raftpbx_codec *const *raftpbx_codecs(uint32_t abi) {
    static const struct raftpbx_codec *const codecs[] = {&linear8, NULL};
    return abi == RAFTPBX_CODEC_ABI ? codecs : NULL;
}
