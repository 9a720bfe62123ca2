// Persistent LSTM forward for H = 768 and 1024, in tf32 for H = 512 (128 serves the tests). Contract, buffers and
// the letters of the barriers: recurrent.cuh.
//
// Block: 16 units (64 gate rows) x ROWS batch rows, 64 of a 16-bit type, 32 of float; 2 warps over units x 4 warps over
// K. All eight warps put their sums into shared memory; each thread then finishes ROWS/16 cells. No registers are left
// to request input_part early or to keep the cells' states, so both are in shared memory. h comes in two halves of
// every warp's share of K: while one is multiplied, the other is under way.
// Shared: tile ROWS*(H*sizeof(S)+16), part ROWS*1024, staged ROWS*16*sizeof(S), inputs ROWS*272, state ROWS*64 bytes.
#include "recurrent/recurrent.cuh"

constexpr int INPUTS = 68;  // 4 gates x 16 units of one row, + 4: rows start in different banks

// Starts the copy of this block's pre-activations [rows][4 gates][16 units]. Unrolled, its addresses would spill, as
// would those of copy_part.
template <int H>
DEVICE void copy_inputs(float* inputs, const float* input_part, int slice, int rows) {
#pragma unroll 1
  for (int i = threadIdx.x; i < rows * 16; i += THREADS)  // row i / 16, gate i / 4 % 4, four units
    copy16(inputs + i / 16 * INPUTS + i % 16 * 4,
           input_part + ((size_t)(i / 16) * 4 + i / 4 % 4) * H + slice * 16 + i % 4 * 4);
}

// Starts the copy of `rows` rows of h into the tile: of each K warp's share the tiles K0 .. K1 - 1.
template <class S, int H, int K0, int K1>
DEVICE void copy_part(S* tile, const S* source, int rows) {
  constexpr int VECTORS = 2 * (K1 - K0), SHARE = H / 4, STRIDE = H + VECTOR<S>;
#pragma unroll 1
  for (int i = threadIdx.x; i < rows * 4 * VECTORS; i += THREADS) {
    const int row = i / (4 * VECTORS), share = i / VECTORS % 4;
    const int column = share * SHARE + (2 * K0 + i % VECTORS) * VECTOR<S>;
    copy16(tile + row * STRIDE + column, source + (size_t)row * H + column);
  }
}

template <class S, int H>
DEVICE void lstm_forward_wide(const u32* W, const float* input_part, const int* lengths, const int* first, S* y,
                              S* gates, float* c, u32* flag, u32* error, int N) {
  constexpr int K_TILES = H / 8 / VECTOR<S>, STRIDE = H + VECTOR<S>;
  constexpr int HALF = K_TILES / 2, ROWS = 128 / (int)sizeof(S), CELLS = ROWS / 16, TILES = ROWS / 8;
  SHARED(S, tile);
  float* part = (float*)(tile + ROWS * STRIDE);  // [8 warps][2][TILES][4][32 lanes]
  S* staged = (S*)(part + ROWS * 256);           // [ROWS][16 units]
  float* inputs = (float*)(staged + ROWS * 16);  // [ROWS][INPUTS]
  float* state = inputs + ROWS * INPUTS + threadIdx.x;  // [CELLS][THREADS]
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, mw = warp % 2, kw = warp / 2;
  const int slice = blockIdx.x, base = blockIdx.y * ROWS;

  u32 a[2][K_TILES][4];
  load_weights<K_TILES>(a, W, (slice * 2 + mw) * 4 + kw);

  int alive = rows_of(base, ROWS, N);  // rows of the group that have a token at step t
  const int mine = kw * (ROWS / 4) + lane % 4 * 2;  // finishes one unit of the rows mine + {0, 1}, {8, 9}
#pragma unroll
  for (int j = 0; j < CELLS; j++) {
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
    copy_part<S, H, 0, HALF>(tile, y + (size_t)before * H, alive);
    copy_batch();
    copy_part<S, H, HALF, K_TILES>(tile, y + (size_t)before * H, alive);
    copy_batch();
    copy_wait_first();
    __syncthreads();  // B

    float d[2][TILES][4] = {};  // [rows i f | g o][eight batch rows]
    multiply<0, HALF>(d, a, operand(tile, 0, kw * (H / 4), STRIDE), STRIDE, alive);
    copy_wait();
    __syncthreads();  // B
    multiply<HALF, K_TILES>(d, a, operand(tile, 0, kw * (H / 4), STRIDE), STRIDE, alive);
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
      for (int r = 0; r < TILES; r++)
#pragma unroll
        for (int i = 0; i < 4; i++) part[(((warp * 2 + m) * TILES + r) * 4 + i) * 32 + lane] = d[m][r][i];
    __syncthreads();  // C

    // Computed anew at each step: kept over the product, they would spill.
    const int unit = mw * 8 + opaque(lane) / 4, u = slice * 16 + unit, mine = kw * (ROWS / 4) + opaque(lane) % 4 * 2;
    LSTMGates gate[CELLS];
#pragma unroll
    for (int j = 0; j < CELLS; j++) {
      const int row = mine + j / 2 * 8 + j % 2;
      if (row >= alive) continue;
      float pre[4];
#pragma unroll
      for (int q = 0; q < 4; q++) {
        pre[q] = inputs[row * INPUTS + q * 16 + unit];
        const int tile_row = kw * (TILES / 4) + j / 2, i = q % 2 * 2 + j % 2;
#pragma unroll
        for (int k = 0; k < 4; k++)
          pre[q] += part[((((k * 2 + mw) * 2 + q / 2) * TILES + tile_row) * 4 + i) * 32 + lane];
      }
      put(staged + row * 16 + unit, lstm_cell({pre[0], pre[1], pre[2], pre[3]}, state[j * THREADS], gate[j]));
    }
    __syncthreads();  // D
    before = token + N;
    store_rows<ROWS, 16>(y + (size_t)before * H + slice * 16, staged, alive, H);
    __syncthreads();  // E
    if (tid == 0) red_release(flag + blockIdx.y, 1);
#pragma unroll
    for (int j = 0; j < CELLS; j++) {
      const int row = mine + j / 2 * 8 + j % 2;
      if (row < alive) keep(gates, c, token + row, before + row, u, gate[j], state[j * THREADS], H);
    }
  }
}

#define LSTM_FORWARD_WIDE(name, S, H) LSTM_FORWARD(lstm_forward_wide_##name##_##H, S, (lstm_forward_wide<S, H>))
LSTM_FORWARD_WIDE(bf16, u16, 128)
LSTM_FORWARD_WIDE(bf16, u16, 768)
LSTM_FORWARD_WIDE(bf16, u16, 1024)
LSTM_FORWARD_WIDE(tf32, float, 128)
LSTM_FORWARD_WIDE(tf32, float, 512)
