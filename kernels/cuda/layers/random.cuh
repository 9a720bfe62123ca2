// Philox4x32-10: random words as a pure function of (seed, step, site, element index), the same on every backend.
//
// Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011), section 3.3.
// Oracle: kernels/reference/random.py.
#pragma once
#include "runtime/device.cuh"

struct Words {
  u32 word[4];
};

// What random numbers of a training step are keyed by, in device memory: a captured graph needs no new arguments.
struct Key {
  u64 seed, step;
};

// The words of elements 4 * block ... 4 * block + 3.
DEVICE Words philox(u32 block, u32 site, const Key& key) {
  u32 c0 = block, c1 = site, c2 = (u32)key.step, c3 = (u32)(key.step >> 32);
  u32 k0 = (u32)key.seed, k1 = (u32)(key.seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const u64 product0 = (u64)0xD2511F53u * c0, product1 = (u64)0xCD9E8D57u * c2;
    c0 = (u32)(product1 >> 32) ^ c1 ^ k0, c1 = (u32)product1;
    c2 = (u32)(product0 >> 32) ^ c3 ^ k1, c3 = (u32)product0;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}
