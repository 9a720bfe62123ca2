// Persistent LSTM backward for H = 768 and 1024, in tf32 for H = 512 (256 serves the tests). Contract, buffers and the
// letters of the barriers: recurrent.cuh.
//
// If every block read the dgates of all units, as in lstm_backward.cu, the exchange would take longer than the product.
// So dh = dgates W_hh is split along both sides of W_hh. A group has H/16 rows and H/128 x H/KU blocks; block (out, in)
// multiplies the dgates of KU units, all four gates (128 units of a 16-bit type, 64 of float), and has sums for the 128
// units of its output slice. The cells of an output slice are dealt to its H/KU blocks by rows. Two exchanges per step:
//
//   own cells' dgates -> E, flag `have_dgates` of the own output slice
//   -> A, all rows' dgates of KU units, in two halves of every warp's share of K -> B, product, B, product
//   -> C, the halves of the two K warps added
//   -> E, flag `have_sums` of the own output slice -> A, the own cells' sums, added in the order of `in` -> dh
//
// Block: 128 units x H/16 rows; 4 warps over units x 2 warps over K. The rows of a tile pair are ordered so that one
// thread receives four neighbouring units of a row: 16 bytes of sums, 8 or 16 of gates, no staging.
//
// Grid (H/128 * H/KU, groups). Beside the contract's buffers:
//   sums  [2][groups][H/128][H/KU][H/16 * 128] f32   scratch. Two, for even and odd steps: a block may write its sums
//                                                    while another still reads those of the step before, but nobody
//                                                    gets two steps ahead of a block that has not read
//   flag  [groups][2][H/128] u32                     blocks that have published dgates, and sums, of an output slice
// Shared: tile H/16*1040, part H/16*512 bytes.
#include "recurrent/recurrent.cuh"

// Four neighbouring elements of S, as they lie in memory.
template <class S>
struct alignas(4 * sizeof(S)) Four {
  Two<S> low, high;
};
template <class S>
DEVICE void unpack(float (&x)[4], const Four<S>& four) {
  x[0] = lower(four.low), x[1] = upper(four.low), x[2] = lower(four.high), x[3] = upper(four.high);
}
DEVICE void unpack(float (&x)[4], const float4& v) { x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w; }

template <class S>
DEVICE void store4(S* p, float x0, float x1, float x2, float x3) {
  *(Four<S>*)p = {two_of(x0, x1, S()), two_of(x2, x3, S())};
}

// Units u .. u + 3 of a token as the forward left them.
template <class S>
struct Quad {
  Four<S> i, f, g, o;
  float4 c_prev, c, dy;
};

// `before` and `after` are the rows of the states before the token and after it.
template <class S>
DEVICE Quad<S> load_quad(const S* gates, const float* c, const float* dy, int token, int before, int after, int u,
                         int H) {
  const S* gate = gates + (size_t)token * 4 * H + u;
  Quad<S> quad = {*(const Four<S>*)gate, *(const Four<S>*)(gate + H), *(const Four<S>*)(gate + 2 * H),
                  *(const Four<S>*)(gate + 3 * H), *(const float4*)(c + (size_t)before * H + u),
                  *(const float4*)(c + (size_t)after * H + u), {0, 0, 0, 0}};
  if (dy) quad.dy = *(const float4*)(dy + (size_t)token * H + u);
  return quad;
}

// dgates of the four units, stored at `target` and each H further; dc becomes that of the old cell states.
template <class S>
DEVICE void store_dgates(S* target, const Quad<S>& quad, const float (&dh)[4], float (&dc)[4], int H) {
  float i[4], f[4], g[4], o[4], c_prev[4], c[4], dy[4];
  unpack(i, quad.i), unpack(f, quad.f), unpack(g, quad.g), unpack(o, quad.o);
  unpack(c_prev, quad.c_prev), unpack(c, quad.c), unpack(dy, quad.dy);
#pragma unroll
  for (int e = 0; e < 4; e++) {
    const LSTMGates d = lstm_cell_backward({i[e], f[e], g[e], o[e]}, c_prev[e], c[e], dh[e] + dy[e], dc[e]);
    i[e] = d.i, f[e] = d.f, g[e] = d.g, o[e] = d.o;
  }
  store4(target, i[0], i[1], i[2], i[3]), store4(target + H, f[0], f[1], f[2], f[3]);
  store4(target + 2 * H, g[0], g[1], g[2], g[3]), store4(target + 3 * H, o[0], o[1], o[2], o[3]);
}

// Starts the copy of `rows` rows of KU units into the tile, the gate `which` of each K warp's two.
template <class S, int H>
DEVICE void copy_gates(S* tile, const S* source, int which, int rows) {
  constexpr int KU = 256 / (int)sizeof(S), STRIDE = 4 * KU + VECTOR<S>;
  for (int i = threadIdx.x; i < rows * 32; i += THREADS) {  // 16 vectors of a gate
    const int row = i / 32, gate = i / 16 % 2 * 2 + which, column = i % 16 * VECTOR<S>;
    copy16(tile + row * STRIDE + gate * KU + column, source + ((size_t)row * 4 + gate) * H + column);
  }
}

// Which of the parts of `sums` holds those of this group and an output slice at step t.
DEVICE int slot_of(int t, int out, int num_out) { return (t % 2 * gridDim.y + blockIdx.y) * num_out + out; }

template <class S, int H>
DEVICE void lstm_backward_wide(const u32* W, const int* lengths, const int* first, const S* gates, const float* c,
                               const float* dy, const float* dh_n, const float* dc_n, S* dgates, float* dh0,
                               float* dc0, float* sums, u32* flag, u32* error, int N) {
  constexpr int KU = 256 / (int)sizeof(S), FOURS = KU / 64, OUT = H / 128, IN = H / KU, ROWS = H / 16;
  constexpr int STRIDE = 4 * KU + VECTOR<S>, TILES = ROWS / 8;
  constexpr int SUMS = ROWS * 128;  // numbers that a block publishes: [four rows][mw][lane][4]
  SHARED(S, tile);
  float4* part = (float4*)(tile + ROWS * STRIDE);  // [8 warps][TILES][32 lanes]
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, mw = warp % 4, kw = warp / 4;
  const int out = blockIdx.x / IN, in = blockIdx.x % IN, base = blockIdx.y * ROWS;

  u32 a[2][16][4];
  load_weights<16>(a, W, (blockIdx.x * 4 + mw) * 2 + kw);

  // Four rows, the even or the odd ones of eight, go to four warps: this thread's cells, if its kw has any, are units
  // u .. u + 3 of row n.
  const int four = in * FOURS + kw, row = four / 2 * 8 + lane % 4 * 2 + four % 2, n = base + row;
  const int u = out * 128 + mw * 32 + lane / 4 * 4, rows = rows_of(base, ROWS, N), T = lengths[base];
  const bool owner = kw < FOURS && row < rows;
  const int length = owner ? lengths[n] : 0;
  float dh[4] = {}, dc[4] = {};
  if (owner) {
    unpack(dh, *(const float4*)(dh_n + (size_t)n * H + u));
    unpack(dc, *(const float4*)(dc_n + (size_t)n * H + u));
  }
  u32* const have_dgates = flag + blockIdx.y * 2 * OUT;
  u32* const have_sums = have_dgates + OUT;
  int alive = 0;  // rows of the group that have a token at step t

  for (int t = T - 1;; t--) {
    Quad<S> quad = {};
    if (t >= 0 && t < length)  // requested before the wait
      quad = load_quad(gates, c, dy, first[t] + n, (t > 0 ? N + first[t - 1] : 0) + n, N + first[t] + n, u, H);
    if (t < T - 1) {
      if (tid == 0) spin_acquire(have_sums + out, IN * (T - 1 - t), error);
      __syncthreads();  // A
      if (t + 1 < length) {
        const float* p = sums + (size_t)slot_of(t + 1, out, OUT) * IN * SUMS + ((four * 4 + mw) * 32 + lane) * 4;
        dh[0] = dh[1] = dh[2] = dh[3] = 0;
#pragma unroll
        for (int k = 0; k < IN; k++) {
          const uint4 s = load16(p + k * SUMS);
          dh[0] += bits_to_float(s.x), dh[1] += bits_to_float(s.y);
          dh[2] += bits_to_float(s.z), dh[3] += bits_to_float(s.w);
        }
      }
    }
    if (t < 0) break;
    while (alive < rows && lengths[base + alive] > t) alive++;
    const int token = first[t] + base;
    if (t < length) store_dgates(dgates + (size_t)(token + row) * 4 * H + u, quad, dh, dc, H);
    __syncthreads();  // E
    if (tid == 0) red_release(have_dgates + out, 1);
    if (tid == 0) spin_acquire(have_dgates + in * KU / 128, IN * (T - t), error);
    __syncthreads();  // A
    const S* source = dgates + (size_t)token * 4 * H + in * KU;
    copy_gates<S, H>(tile, source, 0, alive);
    copy_batch();
    copy_gates<S, H>(tile, source, 1, alive);
    copy_batch();
    copy_wait_first();
    __syncthreads();  // B

    float d[2][TILES][4] = {};  // [units of a lane 0, 1 | 2, 3][eight batch rows]
    multiply<0, 8>(d, a, operand(tile, 0, kw * 2 * KU, STRIDE), STRIDE, alive);
    copy_wait();
    __syncthreads();  // B
    multiply<8, 16>(d, a, operand(tile, 0, kw * 2 * KU, STRIDE), STRIDE, alive);
#pragma unroll
    for (int r = 0; r < TILES; r++)  // the rows that the other K warp finishes
      part[(warp * TILES + r) * 32 + lane] = {kw ? d[0][r][0] : d[0][r][1], kw ? d[0][r][2] : d[0][r][3],
                                              kw ? d[1][r][0] : d[1][r][1], kw ? d[1][r][2] : d[1][r][3]};
    __syncthreads();  // C
    float* mine = sums + ((size_t)slot_of(t, out, OUT) * IN + in) * SUMS + (mw * 32 + lane) * 4;
#pragma unroll
    for (int r = 0; r < TILES; r++) {
      if (r * 8 >= alive) continue;
      const float4 s = part[((warp ^ 4) * TILES + r) * 32 + lane];
      store16(mine + (r * 2 + kw) * 512, {float_to_bits(s.x + (kw ? d[0][r][1] : d[0][r][0])),
                                          float_to_bits(s.y + (kw ? d[0][r][3] : d[0][r][2])),
                                          float_to_bits(s.z + (kw ? d[1][r][1] : d[1][r][0])),
                                          float_to_bits(s.w + (kw ? d[1][r][3] : d[1][r][2]))});
    }
    __syncthreads();  // E
    if (tid == 0) red_release(have_sums + out, 1);
  }
  if (owner) {
    *(float4*)(dh0 + (size_t)n * H + u) = {dh[0], dh[1], dh[2], dh[3]};
    *(float4*)(dc0 + (size_t)n * H + u) = {dc[0], dc[1], dc[2], dc[3]};
  }
}

#define LSTM_BACKWARD_WIDE(name, S, H)                                                                                 \
  KERNEL(lstm_backward_wide_##name##_##H, THREADS, 1, const u32* W, const int* lengths, const int* first,             \
         const S* gates, const float* c, const float* dy, const float* dh_n, const float* dc_n, S* dgates,            \
         float* dh0, float* dc0, float* sums, u32* flag, u32* error, int N) {                                         \
    lstm_backward_wide<S, H>(W, lengths, first, gates, c, dy, dh_n, dc_n, dgates, dh0, dc0, sums, flag, error, N);    \
  }
LSTM_BACKWARD_WIDE(bf16, u16, 256)
LSTM_BACKWARD_WIDE(bf16, u16, 768)
LSTM_BACKWARD_WIDE(bf16, u16, 1024)
LSTM_BACKWARD_WIDE(tf32, float, 256)
LSTM_BACKWARD_WIDE(tf32, float, 512)
