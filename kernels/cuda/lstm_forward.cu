// Persistent LSTM forward for H up to 512. Contract, buffers and the letters of the barriers: recurrent.cuh.
//
//   lstm_forward_<H>          the blocks of a group exchange h by flags
//   lstm_forward_marked_<H>   readers poll the data itself until it is no longer NOT_YET: no flag, no A, no E, and one
//                             trip through L2 less per step (the idea: Zhu et al., "Sparse persistent RNNs", 2018)
//
// Block: 32 units (128 gate rows) x 16 batch rows; 4 warps over units x 2 warps over K. The rows of a tile pair are
// ordered so that one thread receives i, f, g, o of one unit: no shuffles. The two K warps swap halves, then each
// finishes 8 rows. Shared: tile 16*(H+8)*2, part 8192, staged 1024 bytes.
//
// Source of the idea to keep the matrix in registers: Diamos et al., "Persistent RNNs" (2016).
#include "recurrent.cuh"

// Reads 16 rows of h into the tile as they appear: all requests first, then those again that came too early.
template <int H>
DEVICE void poll_rows(u16* tile, const u16* source, u32* error) {
  constexpr int STRIDE = H + 8, VECTORS = 16 * H / 8, EACH = (VECTORS + THREADS - 1) / THREADS;
  uint4 v[EACH];
#pragma unroll
  for (int e = 0; e < EACH; e++)
    if (e * THREADS + threadIdx.x < VECTORS) v[e] = load16(source + (e * THREADS + threadIdx.x) * 8);
#pragma unroll
  for (int e = 0; e < EACH; e++) {
    const int i = e * THREADS + threadIdx.x;
    if (i >= VECTORS) continue;
    if (is_marked(v[e])) v[e] = poll16(source + i * 8, error);
    *(uint4*)(tile + i / (H / 8) * STRIDE + i % (H / 8) * 8) = v[e];
  }
}

template <int H, bool MARKED>
DEVICE void lstm_forward(const u32* W, const float* input_part, const int* lengths, u16* y, u16* h_n, u16* gates,
                         float* c, u32* flag, u32* error, int T, int N) {
  constexpr int K_TILES = H / 32, STRIDE = H + 8;  // + 8: rows start in different banks
  SHARED(u16, tile);
  float* part = (float*)(tile + 16 * STRIDE);  // [8 warps][2][4][32 lanes]
  u16* staged = (u16*)(part + 2048);           // [16 rows][32 units]
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, mw = warp % 4, kw = warp / 4;
  const int slice = blockIdx.x, group = blockIdx.y;

  u32 a[2][K_TILES][4];
  load_weights<K_TILES>(a, W, (slice * 4 + mw) * 2 + kw);

  const int unit = mw * 8 + lane / 4, u = slice * 32 + unit;  // this thread finishes unit u of the rows n, n + 1
  const int row = kw * 8 + lane % 4 * 2, n = group * 16 + row;
  float state[2];
  int length[2];
#pragma unroll
  for (int j = 0; j < 2; j++) state[j] = c[(size_t)(n + j) * H + u], length[j] = lengths[n + j];

  for (int t = 0; t < T; t++) {
    float x[4][2];  // requested before the wait, used long after it
#pragma unroll
    for (int q = 0; q < 4; q++)
#pragma unroll
      for (int j = 0; j < 2; j++) x[q][j] = input_part[(((size_t)t * N + n + j) * 4 + q) * H + u];

    const u16* source = y + ((size_t)t * N + group * 16) * H;
    if (MARKED) {
      poll_rows<H>(tile, source, error);
    } else {
      if (t > 0) {
        if (tid == 0) spin_acquire(flag + group, gridDim.x * t, error);
        __syncthreads();  // A
      }
      copy_rows<H>(tile, source, 16, STRIDE);
      copy_wait();
    }
    __syncthreads();  // B

    float d[2][2][4] = {};  // [rows i f | g o][batch rows 0..7 | 8..15]
    multiply<K_TILES, 1>(d, a, operand(tile, 0, kw * (H / 2), STRIDE), STRIDE);
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
      for (int i = 0; i < 4; i++) part[((warp * 2 + m) * 4 + i) * 32 + lane] = kw ? d[m][0][i] : d[m][1][i];
    __syncthreads();  // C

    float sum[2][4];
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
      for (int i = 0; i < 4; i++)
        sum[m][i] = (kw ? d[m][1][i] : d[m][0][i]) + part[(((warp ^ 4) * 2 + m) * 4 + i) * 32 + lane];
    LSTMGates gate[2] = {};  // an ended row emits zero and keeps its state
    u16 h[2] = {0, 0};
#pragma unroll
    for (int j = 0; j < 2; j++) {
      if (t < length[j])
        h[j] = to_bf16(lstm_cell({sum[0][j] + x[0][j], sum[0][2 + j] + x[1][j], sum[1][j] + x[2][j],
                                  sum[1][2 + j] + x[3][j]}, state[j], gate[j]));
      staged[(row + j) * 32 + unit] = h[j];
    }
    __syncthreads();  // D
    if (tid < 64)
      store16(y + ((size_t)(t + 1) * N + group * 16 + tid / 4) * H + slice * 32 + tid % 4 * 8,
              ((const uint4*)staged)[tid]);
    if (!MARKED) {
      __syncthreads();  // E
      if (tid == 0) red_release(flag + group, 1);
    }
#pragma unroll
    for (int j = 0; j < 2; j++) {
      const size_t at = (size_t)t * N + n + j;
      keep(gates + at * 4 * H + u, c + (at + N) * H + u, gate[j], state[j], H);
      if (t + 1 == length[j]) h_n[(size_t)(n + j) * H + u] = h[j];
    }
  }
}

#define LSTM_FORWARDS(H)                                         \
  LSTM_FORWARD(lstm_forward_##H, (lstm_forward<H, false>))       \
  LSTM_FORWARD(lstm_forward_marked_##H, (lstm_forward<H, true>))
LSTM_FORWARDS(64)
LSTM_FORWARDS(128)
LSTM_FORWARDS(256)
LSTM_FORWARDS(512)
