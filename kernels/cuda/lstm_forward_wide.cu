// Persistent LSTM forward for H = 768 and 1024 (64 and 128 serve the tests). Contract, buffers and the letters of the
// barriers: recurrent.cuh.
//
// Block: 16 units (64 gate rows) x 64 batch rows; 2 warps over units x 4 warps over K. All eight warps put their sums
// into shared memory; each thread then finishes four cells. No registers are left to request input_part early, so it
// goes through shared memory. Shared: tile 64*(H+8)*2, part 65536, staged 2048, inputs 17408 bytes.
#include "recurrent.cuh"

constexpr int INPUTS = 68;  // 4 gates x 16 units of one row, + 4: rows start in different banks

// Starts the copy of this block's pre-activations [64 rows][4 gates][16 units]. Unrolled, its addresses would spill.
template <int H>
DEVICE void copy_inputs(float* inputs, const float* input_part, int slice) {
#pragma unroll 1
  for (int i = threadIdx.x; i < 64 * 16; i += THREADS)  // row i / 16, gate i / 4 % 4, four units
    copy16(inputs + i / 16 * INPUTS + i % 16 * 4,
           input_part + ((size_t)(i / 16) * 4 + i / 4 % 4) * H + slice * 16 + i % 4 * 4);
}

template <int H>
DEVICE void lstm_forward_wide(const u32* W, const float* input_part, const int* lengths, u16* y, u16* h_n, u16* gates,
                              float* c, u32* flag, u32* error, int T, int N) {
  constexpr int K_TILES = H / 64, STRIDE = H + 8;
  SHARED(u16, tile);
  float* part = (float*)(tile + 64 * STRIDE);  // [8 warps][2][8][4][32 lanes]
  u16* staged = (u16*)(part + 16384);          // [64 rows][16 units]
  float* inputs = (float*)(staged + 1024);     // [64 rows][INPUTS]
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, mw = warp % 2, kw = warp / 2;
  const int slice = blockIdx.x, group = blockIdx.y;

  u32 a[2][K_TILES][4];
  load_weights<K_TILES>(a, W, (slice * 2 + mw) * 4 + kw);

  const int unit = mw * 8 + lane / 4, u = slice * 16 + unit;  // finishes unit u of the rows first + {0, 1, 8, 9}
  const int first = kw * 16 + lane % 4 * 2, n = group * 64 + first;
  float state[4];
#pragma unroll
  for (int j = 0; j < 4; j++) state[j] = c[(size_t)(n + j / 2 * 8 + j % 2) * H + u];

  for (int t = 0; t < T; t++) {
    copy_inputs<H>(inputs, input_part + ((size_t)t * N + group * 64) * 4 * H, slice);  // before the wait
    if (t > 0) {
      if (tid == 0) spin_acquire(flag + group, gridDim.x * t, error);
      __syncthreads();  // A
    }
    copy_rows<H>(tile, y + ((size_t)t * N + group * 64) * H, 64, STRIDE);
    copy_wait();
    __syncthreads();  // B

    float d[2][8][4] = {};  // [rows i f | g o][eight batch rows]
    multiply<K_TILES, 4>(d, a, operand(tile, 0, kw * (H / 4), STRIDE), STRIDE);
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
      for (int r = 0; r < 8; r++)
#pragma unroll
        for (int i = 0; i < 4; i++) part[(((warp * 2 + m) * 8 + r) * 4 + i) * 32 + lane] = d[m][r][i];
    __syncthreads();  // C

    LSTMGates gate[4] = {};  // an ended row emits zero and keeps its state
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const int row = first + j / 2 * 8 + j % 2;
      float pre[4];
#pragma unroll
      for (int q = 0; q < 4; q++) {
        pre[q] = inputs[row * INPUTS + q * 16 + unit];
#pragma unroll
        for (int k = 0; k < 4; k++)
          pre[q] += part[((((k * 2 + mw) * 2 + q / 2) * 8 + kw * 2 + j / 2) * 4 + q % 2 * 2 + j % 2) * 32 + lane];
      }
      u16 h = 0;
      if (t < lengths[group * 64 + row]) h = to_bf16(lstm_cell({pre[0], pre[1], pre[2], pre[3]}, state[j], gate[j]));
      staged[row * 16 + unit] = h;
    }
    __syncthreads();  // D
    if (tid < 128)
      store16(y + ((size_t)(t + 1) * N + group * 64 + tid / 2) * H + slice * 16 + tid % 2 * 8,
              ((const uint4*)staged)[tid]);
    __syncthreads();  // E
    if (tid == 0) red_release(flag + group, 1);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const int row = first + j / 2 * 8 + j % 2;
      const size_t at = (size_t)t * N + group * 64 + row;
      keep(gates + at * 4 * H + u, c + (at + N) * H + u, gate[j], state[j], H);
      if (t + 1 == lengths[group * 64 + row])
        h_n[(size_t)(group * 64 + row) * H + u] = staged[row * 16 + unit];  // this thread's own value
    }
  }
}

LSTM_FORWARD(lstm_forward_wide_64, lstm_forward_wide<64>)
LSTM_FORWARD(lstm_forward_wide_128, lstm_forward_wide<128>)
LSTM_FORWARD(lstm_forward_wide_768, lstm_forward_wide<768>)
LSTM_FORWARD(lstm_forward_wide_1024, lstm_forward_wide<1024>)
