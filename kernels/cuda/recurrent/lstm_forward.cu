// Persistent LSTM forward for H up to 512, in tf32 up to 256. Contract, buffers and the letters of the barriers:
// recurrent.cuh.
//
//   lstm_forward_<S>_<H>         the blocks of a group exchange h by flags
//   lstm_forward_marked_<S>_<H>  readers poll the data itself until it is no longer NOT_YET: no flag, no A, no E, and
//                                one trip through L2 less per step (the idea: Zhu et al., "Sparse persistent RNNs",
//                                2018)
//
// Block: 32 units (128 gate rows) x 16 batch rows; 4 warps over units x 2 warps over K. The rows of a tile pair are
// ordered so that one thread receives i, f, g, o of one unit: no shuffles. The two K warps swap halves, then each
// finishes 8 rows. Shared: tile 16*(H*sizeof(S)+16), part 8192, staged 512*sizeof(S) bytes.
//
// Source of the idea to keep the matrix in registers: Diamos et al., "Persistent RNNs" (2016).
#include "recurrent/recurrent.cuh"

// Reads `rows` rows of h into the tile as they appear: all requests first, then those again that came too early.
template <class S, int H>
DEVICE void poll_rows(S* tile, const S* source, int rows, u32* error) {
  constexpr int STRIDE = H + VECTOR<S>, VECTORS = H / VECTOR<S>, EACH = (16 * VECTORS + THREADS - 1) / THREADS;
  uint4 v[EACH];
#pragma unroll
  for (int e = 0; e < EACH; e++) {
    const int i = e * THREADS + threadIdx.x;
    if (i < rows * VECTORS) v[e] = load16(source + i * VECTOR<S>);
  }
#pragma unroll
  for (int e = 0; e < EACH; e++) {
    const int i = e * THREADS + threadIdx.x;
    if (i >= rows * VECTORS) continue;
    if (is_marked(v[e])) v[e] = poll16(source + i * VECTOR<S>, error);
    *(uint4*)(tile + i / VECTORS * STRIDE + i % VECTORS * VECTOR<S>) = v[e];
  }
}

template <class S, int H, bool MARKED>
DEVICE void lstm_forward(const u32* W, const float* input_part, const int* lengths, const int* first, S* y, S* gates,
                         float* c, u32* flag, u32* error, int N) {
  constexpr int K_TILES = H / 4 / VECTOR<S>, STRIDE = H + VECTOR<S>;  // + 16 bytes: rows start in different banks
  SHARED(S, tile);
  float* part = (float*)(tile + 16 * STRIDE);  // [8 warps][2][4][32 lanes]
  S* staged = (S*)(part + 2048);               // [16 rows][32 units]
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, mw = warp % 4, kw = warp / 4;
  const int slice = blockIdx.x, base = blockIdx.y * 16;

  u32 a[2][K_TILES][4];
  load_weights<K_TILES>(a, W, (slice * 4 + mw) * 2 + kw);

  const int unit = mw * 8 + lane / 4, u = slice * 32 + unit;  // this thread finishes unit u of the rows row, row + 1
  const int row = kw * 8 + lane % 4 * 2;
  int alive = rows_of(base, 16, N);  // rows of the group that have a token at step t
  float state[2];
#pragma unroll
  for (int j = 0; j < 2; j++) state[j] = row + j < alive ? c[(size_t)(base + row + j) * H + u] : 0.0f;

  const int T = lengths[base];
  int before = base;  // the group's first row in y before the step
  for (int t = 0; t < T; t++) {
    while (lengths[base + alive - 1] <= t) alive--;
    const int token = first[t] + base;
    float x[4][2] = {};  // requested before the wait, used long after it
#pragma unroll
    for (int q = 0; q < 4; q++)
#pragma unroll
      for (int j = 0; j < 2; j++)
        if (row + j < alive) x[q][j] = input_part[((size_t)(token + row + j) * 4 + q) * H + u];

    if constexpr (MARKED) {
      poll_rows<S, H>(tile, y + (size_t)before * H, alive, error);
    } else {
      if (t > 0) {
        if (tid == 0) spin_acquire(flag + blockIdx.y, gridDim.x * t, error);
        __syncthreads();  // A
      }
      copy_rows<H>(tile, y + (size_t)before * H, alive, STRIDE);
      copy_wait();
    }
    __syncthreads();  // B

    float d[2][2][4] = {};  // [rows i f | g o][batch rows 0..7 | 8..15]
    multiply<0, K_TILES>(d, a, operand(tile, 0, kw * (H / 2), STRIDE), STRIDE, alive);
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
    LSTMGates gate[2];
#pragma unroll
    for (int j = 0; j < 2; j++) {
      const LSTMGates pre = {sum[0][j] + x[0][j], sum[0][2 + j] + x[1][j],  //
                             sum[1][j] + x[2][j], sum[1][2 + j] + x[3][j]};
      if (row + j < alive) put(staged + (row + j) * 32 + unit, lstm_cell(pre, state[j], gate[j]));
    }
    __syncthreads();  // D
    before = token + N;
    store_rows<16, 32>(y + (size_t)before * H + slice * 32, staged, alive, H);
    if constexpr (!MARKED) {
      __syncthreads();  // E
      if (tid == 0) red_release(flag + blockIdx.y, 1);
    }
#pragma unroll
    for (int j = 0; j < 2; j++)
      if (row + j < alive) keep(gates, c, token + row + j, before + row + j, u, gate[j], state[j], H);
  }
}

#define LSTM_FORWARDS(name, S, H)                                                \
  LSTM_FORWARD(lstm_forward_##name##_##H, S, (lstm_forward<S, H, false>))        \
  LSTM_FORWARD(lstm_forward_marked_##name##_##H, S, (lstm_forward<S, H, true>))
LSTM_FORWARDS(bf16, u16, 64)
LSTM_FORWARDS(bf16, u16, 128)
LSTM_FORWARDS(bf16, u16, 256)
LSTM_FORWARDS(bf16, u16, 512)
LSTM_FORWARD(lstm_forward_tf32_64, float, (lstm_forward<float, 64, false>))
LSTM_FORWARD(lstm_forward_tf32_128, float, (lstm_forward<float, 128, false>))
LSTM_FORWARD(lstm_forward_tf32_256, float, (lstm_forward<float, 256, false>))
