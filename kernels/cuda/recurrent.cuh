// What the persistent LSTM kernels share. One launch runs all T steps; the recurrent matrix stays in registers.
//
// Grid (H / units, N / rows), 256 threads, one block per multiprocessor, cooperative launch: a block owns `units`
// hidden units of one group of `rows` batch rows. Only the blocks of one group exchange data (h forwards, dgates
// backwards), so they alone wait for each other. N is a multiple of `rows` (pad with rows of length 0), H of 64 (pad
// with zero weights).
//
//   lengths    [N] i32         0..T; a row with t >= lengths[n] has ended: its y, gates and dgates are 0, c, dh and dc
//                              pass through, and its input_part and dy are never used
//   input_part [T,N,4,H] f32   x W_ih^T + bias, gates in blocks i f g o
//   y          [T+1,N,H] bf16  y[0] is h0 (input), y[t+1] the output of step t; also the exchange buffer.
//                              marked: y[1:] is filled with NOT_YET before the launch, and y[0] holds none
//   h_n        [N,H] bf16      h0 at launch; afterwards the state after each row's last token
//   gates      [T,N,4,H] bf16  activated, kept for the backward
//   c          [T+1,N,H] f32   c[0] is c0 (input); c[T] is c_n
//   dy         [T,N,H] f32     gradient of y[1:]; dh_n, dc_n [N,H] f32 those of the last states
//   dgates     [T,N,4,H] bf16  gradient of the pre-activations; also the exchange buffer, and the input of the GEMMs
//                              for dweight_hh (with y[:-1]), dweight_ih, dx and of the bias sums
//   dh0, dc0   [N,H] f32       gradients of the initial states
//   flag       [N / rows] u32  zero at launch: counts the blocks that have published, over all steps
//   error      [1] u32         zero at launch; 1 afterwards: a block never showed up, and the results are void
//   W                          packed by pack.py; the order of each kernel is described there
//
// Barriers carry the letter used below.
//   A  one thread has seen the flags of all producers; now everybody may read what they published
//   B  the tile in shared memory is complete (each thread has waited for its own copies only)
//   C  every warp's share of the sum is in shared memory
//   D  the block's new values are staged in shared memory, for stores of 16 bytes
//   E  all stores are issued; one thread may publish them (red_release covers the writes of threads met at a barrier)
// No buffer needs a barrier of its own before it is used again: one of these always lies between the last read of a
// step and the first write of the next (tile: C or D; part and inputs: D; staged: C).
#pragma once
#include "cells.cuh"

constexpr int THREADS = 256;

// The thread's weights: tiles of 16 x 16, each as the four registers that mma_bf16 wants.
template <int K_TILES>
DEVICE void load_weights(u32 (&a)[2][K_TILES][4], const u32* W, int part) {
  const uint4* p = (const uint4*)W + (size_t)part * 2 * K_TILES * 32 + threadIdx.x % 32;
#pragma unroll
  for (int m = 0; m < 2; m++)
#pragma unroll
    for (int k = 0; k < K_TILES; k++) {
      const uint4 v = p[(m * K_TILES + k) * 32];
      a[m][k][0] = v.x, a[m][k][1] = v.y, a[m][k][2] = v.z, a[m][k][3] = v.w;
    }
}

// The address that this lane gives to ldmatrix4 for the B operand: 16 batch rows from `row` on, 16 columns from
// `column` on. The result is {b0, b1} of the first eight rows and {b0, b1} of the last eight.
DEVICE const u16* operand(const u16* tile, int row, int column, int stride) {
  const int lane = threadIdx.x % 32;
  return tile + (row + lane % 8 + lane / 16 * 8) * stride + column + lane / 8 % 2 * 8;
}

// d[m][2j, 2j+1] += a[m] * (rows 16j.. of the tile)^T over this warp's share of K; p is the lane's `operand`.
template <int K_TILES, int GROUPS>
DEVICE void multiply(float (&d)[2][2 * GROUPS][4], const u32 (&a)[2][K_TILES][4], const u16* p, int stride) {
#pragma unroll
  for (int k = 0; k < K_TILES; k++)
#pragma unroll
    for (int j = 0; j < GROUPS; j++) {
      u32 b[4];
      ldmatrix4(b, p + j * 16 * stride + k * 16);
#pragma unroll
      for (int m = 0; m < 2; m++) {
        mma_bf16(d[m][2 * j], a[m][k], b[0], b[1]);
        mma_bf16(d[m][2 * j + 1], a[m][k], b[2], b[3]);
      }
    }
}

// Starts the copy of `rows` rows of WIDTH bf16 numbers, consecutive in global memory, into a tile.
template <int WIDTH>
DEVICE void copy_rows(u16* tile, const u16* source, int rows, int stride) {
  constexpr int VECTORS = WIDTH / 8;
  for (int i = threadIdx.x; i < rows * VECTORS; i += THREADS)
    copy16(tile + i / VECTORS * stride + i % VECTORS * 8, source + (size_t)i * 8);
}

// What the backward needs of one cell; nobody waits for these stores.
DEVICE void keep(u16* gates, float* c, const LSTMGates& gate, float state, int H) {
  *c = state;
  put(gates, gate.i), put(gates + H, gate.f), put(gates + 2 * H, gate.g), put(gates + 3 * H, gate.o);
}

#define LSTM_FORWARD(name, call)                                                                                       \
  KERNEL(name, THREADS, 1, const u32* W, const float* input_part, const int* lengths, u16* y, u16* h_n, u16* gates,   \
         float* c, u32* flag, u32* error, int T, int N) {                                                             \
    call(W, input_part, lengths, y, h_n, gates, c, flag, error, T, N);                                                \
  }
