// Small kernels for the wrappers and the simulator themselves. The first ones are also the first thing to run on a GPU:
// they confirm (or refute) what the simulator believes about fragment layouts, copies, shuffles, flags and rounding.
#define USE_GRID_SYNC
#include "recurrent/recurrent.cuh"

// a: one packed tile [32][4] u32; b [16 rows][32 bytes] row-major; d [16][16] f32 = a * b^T. Grid 1, 32 threads, shared
// 16*48.
template <class S>
DEVICE void tile_product(const u32* a, const S* b, float* d) {
  constexpr int STRIDE = 3 * VECTOR<S>;
  SHARED(S, tile);
  const int lane = threadIdx.x;
  copy16(tile + lane / 2 * STRIDE + lane % 2 * VECTOR<S>, b + lane * VECTOR<S>);
  copy_wait();
  __syncthreads();
  u32 x[2][1][4];
  for (int i = 0; i < 4; i++) x[0][0][i] = a[lane * 4 + i], x[1][0][i] = 0;
  float p[2][2][4] = {};
  multiply<0, 1>(p, x, operand(tile, 0, 0, STRIDE), STRIDE, 16);
  for (int n = 0; n < 2; n++)
    for (int i = 0; i < 4; i++) d[(lane / 4 + i / 2 * 8) * 16 + n * 8 + lane % 4 * 2 + i % 2] = p[0][n][i];
}
KERNEL(one_tile, 32, 1, const u32* a, const u16* b, float* d) { tile_product(a, b, d); }
KERNEL(one_tile_tf32, 32, 1, const u32* a, const float* b, float* d) { tile_product(a, b, d); }

// The other rounding. Grid ceil(n / 32), 32 threads.
KERNEL(roundings, 32, 1, const float* x, u32* tf32, int n) {
  const int i = blockIdx.x * 32 + threadIdx.x;
  if (i < n) tf32[i] = to_tf32(x[i]);
}

// Three batches of copies of 32 vectors. first [64]: two of them after copy_wait_first, third_early [32] what the third
// has brought by then (on a GPU perhaps all), third [32] after copy_wait. Grid 1, 32 threads, shared 3*512.
KERNEL(batches, 32, 1, const uint4* in, uint4* first, uint4* third_early, uint4* third) {
  SHARED(uint4, tile);
  const int lane = threadIdx.x;
  for (int i = 0; i < 3; i++) {
    copy16(tile + i * 32 + lane, in + i * 32 + lane);
    copy_batch();
  }
  copy_wait_first();
  first[lane] = tile[lane], first[32 + lane] = tile[32 + lane], third_early[lane] = tile[64 + lane];
  copy_wait();
  third[lane] = tile[64 + lane];
}

// Every lane's value from the lane with `mask` flipped, and from the lane `by` below. Grid 1, 32 threads.
KERNEL(shuffles, 32, 1, const float* in, float* xored, int* up, int mask, int by) {
  const int lane = threadIdx.x;
  xored[lane] = shuffle_xor(in[lane], mask);
  up[lane] = (int)shuffle_up((u32)lane, by);
}

// y = bf16(x), and the float functions. Grid ceil(n / 32), 32 threads.
KERNEL(functions, 32, 1, const float* x, u16* rounded, float* s, float* t, float* e, int n) {
  const int i = blockIdx.x * 32 + threadIdx.x;
  if (i < n) rounded[i] = to_bf16(x[i]), s[i] = sigmoid(x[i]), t[i] = tanh_(x[i]), e[i] = fast_exp(x[i]);
}

// A ring of blocks: each waits for the one before, by flag and by marked data. Grid n (cooperative), 32 threads.
KERNEL(ring, 32, 1, u32* flag, uint4* data, u32* error) {
  const int me = blockIdx.x;
  if (threadIdx.x == 0 && me > 0) {
    spin_acquire(flag, me, error);
    uint4 v = poll16(data + me - 1, error);
    v.x++;
    store16(data + me, v);
  }
  __syncthreads();
  if (threadIdx.x == 0) red_release(flag, 1);
}

// sum[b] = total of all blocks' values, through a grid barrier. Grid n (cooperative), 32 threads.
KERNEL(grid_total, 32, 1, const int* in, int* scratch, int* sum) {
  if (threadIdx.x == 0) scratch[blockIdx.x] = in[blockIdx.x];
  grid_sync();
  int total = 0;
  for (unsigned b = 0; b < gridDim.x; b++) total += scratch[b];
  if (threadIdx.x == 0) sum[blockIdx.x] = total;
}

#ifndef __CUDACC__  // Mistakes that the simulator must report; 64 threads each.
KERNEL(exited_threads, 64, 1, int* out) {
  if (threadIdx.x == 5) return;
  __syncthreads();
  out[0] = 1;
}
KERNEL(two_barriers, 64, 1, int* out) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[0] = 1;
}
KERNEL(waits_for_nobody, 64, 1, u32* flag, u32* error) { spin_acquire(flag, 1, error); }
KERNEL(half_a_warp, 64, 1, float* out) {
  if (threadIdx.x % 32 < 16) out[threadIdx.x] = shuffle_xor(1.0f, 1);
  __syncthreads();
}
KERNEL(crooked_copy, 64, 1, const u16* in) {
  SHARED(u16, tile);
  copy16(tile + 4, in);
}
KERNEL(copy_too_far, 64, 1, const u16* in) {
  SHARED(u16, tile);
  copy16(tile + 8 * threadIdx.x, in);
}
KERNEL(store_too_far, 64, 1, int* out) {
  SHARED(int, tile);
  tile[threadIdx.x] = out[0];
}
KERNEL(unsynchronised, 64, 1, int* out) {
  SHARED(int, tile);
  tile[threadIdx.x] = threadIdx.x;
  out[threadIdx.x] = tile[63 - threadIdx.x];
}
#endif
