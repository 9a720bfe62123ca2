// Persistent LSTM backward for H up to 512, in tf32 up to 256. Contract, buffers and the letters of the barriers:
// recurrent.cuh.
//
// Block: 32 units x 16 batch rows. Step t: the gradient of the own cells' gates -> exchange -> dh = dgates[16 x 4H]
// W_hh for the own units, the eight warps splitting the 4H. A thread keeps dh and dc of two cells in registers over all
// steps. Shared: tile 16*(4H*sizeof(S)+16), part 18432, staged 2048*sizeof(S) bytes.
#include "recurrent/recurrent.cuh"

constexpr int PART = 36;  // floats of one row of a warp's share: 32 units, + 4: no bank conflicts either way

// Two neighbouring cells of a token as the forward left them.
template <class S>
struct CellPair {
  Two<S> i, f, g, o;
  float2 c_prev, dy;
};

// Units u and u + 1 of a token; `before` is the row of the state before it.
template <class S>
DEVICE CellPair<S> load_pair(const S* gates, const float* c, const float* dy, int token, int before, int u, int H) {
  const S* gate = gates + (size_t)token * 4 * H + u;
  CellPair<S> pair = {*(const Two<S>*)gate, *(const Two<S>*)(gate + H), *(const Two<S>*)(gate + 2 * H),
                      *(const Two<S>*)(gate + 3 * H), *(const float2*)(c + (size_t)before * H + u), {0, 0}};
  if (dy) pair.dy = *(const float2*)(dy + (size_t)token * H + u);
  return pair;
}

template <class S>
DEVICE void stage(S* mine, const LSTMGates& d) {
  put(mine, d.i), put(mine + 32, d.f), put(mine + 64, d.g), put(mine + 96, d.o);
}

template <class S, int H>
DEVICE void lstm_backward(const u32* W, const int* lengths, const int* first, const S* gates, const float* c,
                          const float* dy, const float* dh_n, const float* dc_n, S* dgates, float* dh0, float* dc0,
                          u32* flag, u32* error, int N) {
  constexpr int K_TILES = H / 4 / VECTOR<S>, STRIDE = 4 * H + VECTOR<S>;
  SHARED(S, tile);
  float* part = (float*)(tile + 16 * STRIDE);  // [8 warps][16 rows][PART]
  S* staged = (S*)(part + 8 * 16 * PART);      // [16 rows][4 gates][32 units]
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;
  const int slice = blockIdx.x, base = blockIdx.y * 16;

  u32 a[2][K_TILES][4];
  load_weights<K_TILES>(a, W, slice * 8 + warp);

  const int row = tid / 16, unit = tid % 16 * 2, n = base + row, u = slice * 32 + unit;  // owns u, u + 1 of row n
  const int rows = rows_of(base, 16, N), T = lengths[base], length = row < rows ? lengths[n] : 0;
  const size_t cell = (size_t)n * H + u;
  float2 dh = {0, 0}, dc = {0, 0}, c_new = {0, 0};
  if (row < rows) dh = *(const float2*)(dh_n + cell), dc = *(const float2*)(dc_n + cell);
  if (length > 0) c_new = *(const float2*)(c + (size_t)(N + first[length - 1] + n) * H + u);
  CellPair<S> pair = {};
  if (length > 0 && length == T)
    pair = load_pair(gates, c, dy, first[T - 1] + n, (T > 1 ? N + first[T - 2] : 0) + n, u, H);
  int alive = 0;  // rows of the group that have a token at step t

  for (int t = T - 1; t >= 0; t--) {
    while (alive < rows && lengths[base + alive] > t) alive++;
    const int token = first[t] + base;
    if (row < alive) {
      const LSTMGates gate0 = {lower(pair.i), lower(pair.f), lower(pair.g), lower(pair.o)};
      const LSTMGates gate1 = {upper(pair.i), upper(pair.f), upper(pair.g), upper(pair.o)};
      S* mine = staged + row * 128 + unit;
      stage(mine, lstm_cell_backward(gate0, pair.c_prev.x, c_new.x, dh.x + pair.dy.x, dc.x));
      stage(mine + 1, lstm_cell_backward(gate1, pair.c_prev.y, c_new.y, dh.y + pair.dy.y, dc.y));
      c_new = pair.c_prev;
    }
    __syncthreads();  // D
    store_rows<16 * 4, 32>(dgates + (size_t)token * 4 * H + slice * 32, staged, alive * 4, H);
    __syncthreads();  // E
    if (tid == 0) red_release(flag + blockIdx.y, 1);
    if (t > 0 && t <= length)  // the token before, requested before the wait
      pair = load_pair(gates, c, dy, first[t - 1] + n, (t > 1 ? N + first[t - 2] : 0) + n, u, H);
    if (tid == 0) spin_acquire(flag + blockIdx.y, gridDim.x * (T - t), error);
    __syncthreads();  // A
    copy_rows<4 * H>(tile, dgates + (size_t)token * 4 * H, alive, STRIDE);
    copy_wait();
    __syncthreads();  // B

    float d[2][2][4] = {};  // [units 0..15 | 16..31][batch rows 0..7 | 8..15]
    multiply<0, K_TILES>(d, a, operand(tile, 0, warp * (H / 2), STRIDE), STRIDE, alive);
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
      for (int r = 0; r < 2; r++)
#pragma unroll
        for (int i = 0; i < 4; i++)
          part[(warp * 16 + r * 8 + lane % 4 * 2 + i % 2) * PART + m * 16 + i / 2 * 8 + lane / 4] = d[m][r][i];
    __syncthreads();  // C
    if (row < alive) {  // a row without a token passes dh on
      dh = {0, 0};
#pragma unroll
      for (int w = 0; w < 8; w++) {
        const float2 s = *(const float2*)(part + (w * 16 + row) * PART + unit);
        dh.x += s.x, dh.y += s.y;
      }
    }
  }
  if (row < rows) *(float2*)(dh0 + cell) = dh, *(float2*)(dc0 + cell) = dc;
}

#define LSTM_BACKWARD(name, S, H)                                                                                      \
  KERNEL(lstm_backward_##name##_##H, THREADS, 1, const u32* W, const int* lengths, const int* first, const S* gates,  \
         const float* c, const float* dy, const float* dh_n, const float* dc_n, S* dgates, float* dh0, float* dc0,    \
         u32* flag, u32* error, int N) {                                                                              \
    lstm_backward<S, H>(W, lengths, first, gates, c, dy, dh_n, dc_n, dgates, dh0, dc0, flag, error, N);               \
  }
LSTM_BACKWARD(bf16, u16, 64)
LSTM_BACKWARD(bf16, u16, 128)
LSTM_BACKWARD(bf16, u16, 256)
LSTM_BACKWARD(bf16, u16, 512)
LSTM_BACKWARD(tf32, float, 64)
LSTM_BACKWARD(tf32, float, 128)
LSTM_BACKWARD(tf32, float, 256)
