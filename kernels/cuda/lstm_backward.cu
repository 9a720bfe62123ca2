// Persistent LSTM backward for H up to 512. Contract, buffers and the letters of the barriers: recurrent.cuh.
//
// Block: 32 units x 16 batch rows. Step t: the gradient of the own cells' gates -> exchange -> dh = dgates[16 x 4H]
// W_hh for the own units, the eight warps splitting the 4H. A thread keeps dh and dc of two cells in registers over all
// steps. Shared: tile 16*(4H+8)*2, part 18432, staged 4096 bytes.
#include "recurrent.cuh"

constexpr int PART = 36;  // floats of one row of a warp's share: 32 units, + 4: no bank conflicts either way

// Two neighbouring cells of a step as the forward left them, gates as pairs of bf16.
struct CellPair {
  u32 gate[4];
  float2 c_prev, dy;
};

// Units u and u + 1 of row n at step t.
DEVICE CellPair load_pair(const u16* gates, const float* c, const float* dy, int t, int n, int u, int N, int H) {
  CellPair pair;
  const size_t row = (size_t)t * N + n;
#pragma unroll
  for (int q = 0; q < 4; q++) pair.gate[q] = *(const u32*)(gates + (row * 4 + q) * H + u);
  pair.c_prev = *(const float2*)(c + row * H + u);
  pair.dy = *(const float2*)(dy + row * H + u);
  return pair;
}

// Gates of the lower (shift 0) or the upper (16) cell of a pair.
DEVICE LSTMGates unpack(const CellPair& pair, int shift) {
  return {to_float((u16)(pair.gate[0] >> shift)), to_float((u16)(pair.gate[1] >> shift)),
          to_float((u16)(pair.gate[2] >> shift)), to_float((u16)(pair.gate[3] >> shift))};
}

DEVICE void stage(u16* mine, const LSTMGates& d) {
  put(mine, d.i), put(mine + 32, d.f), put(mine + 64, d.g), put(mine + 96, d.o);
}

template <int H>
DEVICE void lstm_backward(const u32* W, const int* lengths, const u16* gates, const float* c, const float* dy,
                          const float* dh_n, const float* dc_n, u16* dgates, float* dh0, float* dc0, u32* flag,
                          u32* error, int T, int N) {
  constexpr int K_TILES = H / 32, STRIDE = 4 * H + 8;
  SHARED(u16, tile);
  float* part = (float*)(tile + 16 * STRIDE);  // [8 warps][16 rows][PART]
  u16* staged = (u16*)(part + 8 * 16 * PART);  // [16 rows][4 gates][32 units]
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;
  const int slice = blockIdx.x, group = blockIdx.y;

  u32 a[2][K_TILES][4];
  load_weights<K_TILES>(a, W, slice * 8 + warp);

  const int row = tid / 16, unit = tid % 16 * 2, n = group * 16 + row, u = slice * 32 + unit;  // owns u, u + 1 of row n
  const int length = lengths[n];
  const size_t cell = (size_t)n * H + u;
  float2 dh = *(const float2*)(dh_n + cell), dc = *(const float2*)(dc_n + cell);
  float2 c_new = *(const float2*)(c + (size_t)T * N * H + cell);
  CellPair pair = {};
  if (T > 0) pair = load_pair(gates, c, dy, T - 1, n, u, N, H);

  for (int t = T - 1; t >= 0; t--) {
    const bool alive = t < length;
    LSTMGates d0 = {0, 0, 0, 0}, d1 = {0, 0, 0, 0};
    if (alive) {
      d0 = lstm_cell_backward(unpack(pair, 0), pair.c_prev.x, c_new.x, dh.x + pair.dy.x, dc.x);
      d1 = lstm_cell_backward(unpack(pair, 16), pair.c_prev.y, c_new.y, dh.y + pair.dy.y, dc.y);
    }
    stage(staged + row * 128 + unit, d0), stage(staged + row * 128 + unit + 1, d1);
    __syncthreads();  // D
    store16(dgates + (((size_t)t * N + n) * 4 + tid / 4 % 4) * H + slice * 32 + tid % 4 * 8,
            ((const uint4*)staged)[tid]);
    __syncthreads();  // E
    if (tid == 0) red_release(flag + group, 1);
    c_new = pair.c_prev;
    if (t > 0) pair = load_pair(gates, c, dy, t - 1, n, u, N, H);  // before the wait
    if (tid == 0) spin_acquire(flag + group, gridDim.x * (T - t), error);
    __syncthreads();  // A
    copy_rows<4 * H>(tile, dgates + ((size_t)t * N + group * 16) * 4 * H, 16, STRIDE);
    copy_wait();
    __syncthreads();  // B

    float d[2][2][4] = {};  // [units 0..15 | 16..31][batch rows 0..7 | 8..15]
    multiply<K_TILES, 1>(d, a, operand(tile, 0, warp * (H / 2), STRIDE), STRIDE);
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
      for (int r = 0; r < 2; r++)
#pragma unroll
        for (int i = 0; i < 4; i++)
          part[(warp * 16 + r * 8 + lane % 4 * 2 + i % 2) * PART + m * 16 + i / 2 * 8 + lane / 4] = d[m][r][i];
    __syncthreads();  // C
    if (alive) {  // an ended row passes dh on
      dh = {0, 0};
#pragma unroll
      for (int w = 0; w < 8; w++) {
        const float2 s = *(const float2*)(part + (w * 16 + row) * PART + unit);
        dh.x += s.x, dh.y += s.y;
      }
    }
  }
  *(float2*)(dh0 + cell) = dh;
  *(float2*)(dc0 + cell) = dc;
}

#define LSTM_BACKWARD(H)                                                                                               \
  KERNEL(lstm_backward_##H, THREADS, 1, const u32* W, const int* lengths, const u16* gates, const float* c,           \
         const float* dy, const float* dh_n, const float* dc_n, u16* dgates, float* dh0, float* dc0, u32* flag,       \
         u32* error, int T, int N) {                                                                                  \
    lstm_backward<H>(W, lengths, gates, c, dy, dh_n, dc_n, dgates, dh0, dc0, flag, error, T, N);                      \
  }
LSTM_BACKWARD(64)
LSTM_BACKWARD(128)
LSTM_BACKWARD(256)
LSTM_BACKWARD(512)
