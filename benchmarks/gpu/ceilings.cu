// Kernels with next to no work: what a launch and an exchange of h between blocks cost by themselves.
#include "runtime/device.cuh"

KERNEL(nothing, 32, 1, u32* error) {
  if (!error) return;  // a kernel has to mention its arguments
}

// `rounds` steps of a recurrence without arithmetic, for 16 rows and 32 units per block: read h of the group, publish
// the 32 units of the next slice with one added to each. y [rounds+1][groups][16][32 blocks] u16: y[0] is the input;
// for `marked`, y[1:] is NOT_YET at launch. Shared 16 * 32 * blocks * 2 bytes.
constexpr int MOST = 4;  // vectors per thread: at most 16 blocks
template <bool MARKED>
DEVICE void exchange(u16* y, u32* flag, u32* error, int rounds) {
  SHARED(u16, tile);
  const int S = gridDim.x, H = S * 32, group = blockIdx.y, tid = threadIdx.x;
  const size_t step = (size_t)gridDim.y * 16 * H;
  for (int t = 0; t < rounds; t++) {
    const u16* source = y + t * step + (size_t)group * 16 * H;
    if (MARKED) {
      uint4 v[MOST];  // all requests first, then those again that came too early
#pragma unroll
      for (int e = 0; e < MOST; e++)
        if (e * 256 + tid < 2 * H) v[e] = load16(source + (e * 256 + tid) * 8);
#pragma unroll
      for (int e = 0; e < MOST; e++) {
        const int i = e * 256 + tid;
        if (i >= 2 * H) continue;
        if (is_marked(v[e])) v[e] = poll16(source + i * 8, error);
        *(uint4*)(tile + i * 8) = v[e];
      }
    } else {
      if (t > 0) {
        if (tid == 0) spin_acquire(flag + group, S * t, error);
        __syncthreads();
      }
      for (int i = tid; i < 2 * H; i += 256) copy16(tile + i * 8, source + i * 8);
      copy_wait();
    }
    __syncthreads();
    if (tid < 64) {
      const int row = tid / 4, at = tid % 4 * 8;
      uint4 v = *(const uint4*)(tile + row * H + (blockIdx.x + 1) % S * 32 + at);
      v.x += 0x00010001u, v.y += 0x00010001u, v.z += 0x00010001u, v.w += 0x00010001u;
      store16(y + (t + 1) * step + ((size_t)group * 16 + row) * H + blockIdx.x * 32 + at, v);
    }
    __syncthreads();
    if (!MARKED && tid == 0) red_release(flag + group, 1);
  }
}
KERNEL(exchange_by_flag, 256, 1, u16* y, u32* flag, u32* error, int rounds) { exchange<false>(y, flag, error, rounds); }
KERNEL(exchange_marked, 256, 1, u16* y, u32* error, int rounds) { exchange<true>(y, nullptr, error, rounds); }
