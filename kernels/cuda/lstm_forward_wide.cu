// Persistent LSTM forward for H = 768 and 1024 (64 and 128 serve the tests). Contract, buffers and the letters of the
// barriers: recurrent.cuh.
//
// Block: 16 units (64 gate rows) x 64 batch rows; 2 warps over units x 4 warps over K. All eight warps put their sums
// into shared memory; each thread then finishes four cells. No registers are left to request input_part early or to
// keep the cells' states, so both are in shared memory. Shared: tile 64*(H+8)*2, part 65536, staged 2048, inputs 17408,
// state 4096 bytes.
#include "recurrent.cuh"

constexpr int INPUTS = 68;  // 4 gates x 16 units of one row, + 4: rows start in different banks

// Starts the copy of this block's pre-activations [rows][4 gates][16 units]. Unrolled, its addresses would spill.
template <int H>
DEVICE void copy_inputs(float* inputs, const float* input_part, int slice, int rows) {
#pragma unroll 1
  for (int i = threadIdx.x; i < rows * 16; i += THREADS)  // row i / 16, gate i / 4 % 4, four units
    copy16(inputs + i / 16 * INPUTS + i % 16 * 4,
           input_part + ((size_t)(i / 16) * 4 + i / 4 % 4) * H + slice * 16 + i % 4 * 4);
}

template <class S, int H>
DEVICE void lstm_forward_wide(const u32* W, const float* input_part, const int* lengths, const int* first, S* y,
                              S* gates, float* c, u32* flag, u32* error, int N) {
  constexpr int K_TILES = H / 8 / VECTOR<S>, STRIDE = H + VECTOR<S>;
  SHARED(S, tile);
  float* part = (float*)(tile + 64 * STRIDE);  // [8 warps][2][8][4][32 lanes]
  S* staged = (S*)(part + 16384);              // [64 rows][16 units]
  float* inputs = (float*)(staged + 64 * 16);  // [64 rows][INPUTS]
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, mw = warp % 2, kw = warp / 2;
  const int slice = blockIdx.x, base = blockIdx.y * 64;

  u32 a[2][K_TILES][4];
  load_weights<K_TILES>(a, W, (slice * 2 + mw) * 4 + kw);

  int alive = rows_of(base, 64, N);  // rows of the group that have a token at step t
  float* state = inputs + 64 * INPUTS + tid;   // [4 cells][THREADS]
  const int mine = kw * 16 + lane % 4 * 2;  // this thread finishes one unit of the rows mine + {0, 1, 8, 9}
#pragma unroll
  for (int j = 0; j < 4; j++) {
    const int row = mine + j / 2 * 8 + j % 2;
    state[j * THREADS] = row < alive ? c[(size_t)(base + row) * H + slice * 16 + mw * 8 + lane / 4] : 0.0f;
  }

  const int T = lengths[base];
  int before = base;  // the group's first row in y before the step
  for (int t = 0; t < T; t++) {
    while (lengths[base + alive - 1] <= t) alive--;
    const int token = first[t] + base;
    copy_inputs<H>(inputs, input_part + (size_t)token * 4 * H, slice, alive);  // before the wait
    if (t > 0) {
      if (tid == 0) spin_acquire(flag + blockIdx.y, gridDim.x * t, error);
      __syncthreads();  // A
    }
    copy_rows<H, 1>(tile, y + (size_t)before * H, alive, STRIDE);
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

    // Computed anew at each step: kept over the product, they would spill.
    const int unit = mw * 8 + opaque(lane) / 4, u = slice * 16 + unit, mine = kw * 16 + opaque(lane) % 4 * 2;
    LSTMGates gate[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const int row = mine + j / 2 * 8 + j % 2;
      if (row >= alive) continue;
      float pre[4];
#pragma unroll
      for (int q = 0; q < 4; q++) {
        pre[q] = inputs[row * INPUTS + q * 16 + unit];
#pragma unroll
        for (int k = 0; k < 4; k++)
          pre[q] += part[((((k * 2 + mw) * 2 + q / 2) * 8 + kw * 2 + j / 2) * 4 + q % 2 * 2 + j % 2) * 32 + lane];
      }
      put(staged + row * 16 + unit, lstm_cell({pre[0], pre[1], pre[2], pre[3]}, state[j * THREADS], gate[j]));
    }
    __syncthreads();  // D
    before = token + N;
    store_rows<64, 16>(y + (size_t)before * H + slice * 16, staged, alive, H);
    __syncthreads();  // E
    if (tid == 0) red_release(flag + blockIdx.y, 1);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const int row = mine + j / 2 * 8 + j % 2;
      if (row < alive) keep(gates, c, token + row, before + row, u, gate[j], state[j * THREADS], H);
    }
  }
}

LSTM_FORWARD(lstm_forward_wide_bf16_64, u16, (lstm_forward_wide<u16, 64>))
LSTM_FORWARD(lstm_forward_wide_bf16_128, u16, (lstm_forward_wide<u16, 128>))
LSTM_FORWARD(lstm_forward_wide_bf16_768, u16, (lstm_forward_wide<u16, 768>))
LSTM_FORWARD(lstm_forward_wide_bf16_1024, u16, (lstm_forward_wide<u16, 1024>))
