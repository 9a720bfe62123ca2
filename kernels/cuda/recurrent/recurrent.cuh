// What the persistent LSTM kernels share. One launch runs all time steps; the recurrent matrix stays in registers.
//
// Rows are packed as in kernels/packing.py: sorted by length, longest first, P tokens in order of time. Token (t, n)
// exists if t < lengths[n]; it is row first[t] + n of an array of P rows. A state buffer has N + P rows: the N initial
// states, then the state after each token, in row N + first[t] + n. Padded sequences are the case first[t] = t * N.
// Nothing of a token that does not exist is read or written; the state after a row's last token is where the row ends,
// which for a length of 0 is its initial state.
//
// A kernel's name ends in its type and in H. The type says how y, gates and dgates are kept, and what is multiplied:
// bf16 (S = u16) itself; tf32 keeps S = float and rounds the factors to ten bits of mantissa. Sums are float32. H is a
// multiple of 64 (pad the weights with zeros); N is at least 1 and need not fill the last group.
//
//   lengths    [N] i32         longest first, each at most T
//   first      [T] i32         the row of each step's first token; one entry more does no harm
//   input_part [P,4,H] f32     x W_ih^T + bias, gates in blocks i f g o
//   y          [N+P,H] S       state buffer of h, its first N rows given; also the exchange buffer.
//                              marked: the tokens' rows hold NOT_YET before each launch (lstm_mark), and h0 holds none
//   gates      [P,4,H] S       activated, kept for the backward
//   c          [N+P,H] f32     state buffer, its first N rows given
//   dy         [P,H] f32       gradient of y's last P rows; null: zero
//   dh_n, dc_n [N,H] f32       gradients of the states after each row's last token
//   dgates     [P,4,H] S       gradient of the pre-activations; also the exchange buffer, and the input of the products
//                              for dweight_hh (with y by `previous`), dweight_ih, dx and of the bias sums
//   dh0, dc0   [N,H] f32       gradients of the initial states
//   flag       [groups] u32    the host sets it to zero before each launch: counts the blocks that have published
//   error      [1] u32         the device's error word, zero until something fails, never cleared by a kernel:
//                              1 afterwards means that a block never showed up, and that the results are void
//   W                          packed by pack.py; the order of each kernel is described there
//
// Grid (H / units, groups), groups = ceil(N / rows), 256 threads, one block per multiprocessor, cooperative launch: a
// block owns `units` hidden units of one group of `rows` batch rows (lstm_backward_wide.cu: another grid). Only the
// blocks of one group exchange data (h forwards, dgates backwards), so they alone wait for each other; a group stops
// with its longest row.
//
// Barriers carry the letter used below.
//   A  one thread has seen the flags of all producers; now everybody may read what they published
//   B  the tile in shared memory, or the half of it that comes next, is complete (each thread has waited for its own
//      copies only)
//   C  every warp's share of the sum is in shared memory
//   D  the block's new values are staged in shared memory, for stores of 16 bytes
//   E  all stores are issued; one thread may publish them (red_release covers the writes of threads met at a barrier)
// No buffer needs a barrier of its own before it is used again: one of these always lies between the last read of a
// step and the first write of the next (tile: C or D; part and inputs: D; staged: C).
//
// Rows of a tile that have no token hold what was there before. A column of a product depends on its own row only, so
// they reach nothing that is used.
#pragma once
#include "recurrent/cells.cuh"

constexpr int THREADS = 256;

// Elements of S in 16 bytes; a tile of weights is two such vectors wide.
template <class S>
constexpr int VECTOR = 16 / (int)sizeof(S);

// Two neighbouring elements of S, as they lie in memory: those of bf16 share a register.
template <class S>
struct alignas(2 * sizeof(S)) Two {
  u32 word[sizeof(S) / 2];
};
DEVICE float lower(const Two<u16>& two) { return to_float((u16)two.word[0]); }
DEVICE float upper(const Two<u16>& two) { return to_float((u16)(two.word[0] >> 16)); }
DEVICE float lower(const Two<float>& two) { return bits_to_float(two.word[0]); }
DEVICE float upper(const Two<float>& two) { return bits_to_float(two.word[1]); }
DEVICE Two<u16> two_of(float x, float y, u16) { return {{(u32)to_bf16(y) << 16 | to_bf16(x)}}; }
DEVICE Two<float> two_of(float x, float y, float) { return {{float_to_bits(x), float_to_bits(y)}}; }

DEVICE void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, u16) { mma_bf16(d, a, b0, b1); }
DEVICE void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, float) { mma_tf32(d, a, b0, b1); }

// Operands as they lie in shared memory -> as mma wants them.
template <class S>
DEVICE void round_operands(u32 (&)[4], S) {}
DEVICE void round_operands(u32 (&b)[4], float) {
#pragma unroll
  for (int i = 0; i < 4; i++) b[i] = to_tf32(bits_to_float(b[i]));
}

// Up to `rows` rows of the batch begin at `base`. How many there are.
DEVICE int rows_of(int base, int rows, int N) { return N - base < rows ? N - base : rows; }

// The thread's weights: tiles of 16 rows, each as the four registers that mma wants.
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

// The address that this lane gives to ldmatrix4 for the B operand: 16 batch rows from `row` on, two vectors from
// `column` on. The result is {b0, b1} of the first eight rows and {b0, b1} of the last eight.
template <class S>
DEVICE const S* operand(const S* tile, int row, int column, int stride) {
  const int lane = threadIdx.x % 32;
  return tile + (row + lane % 8 + lane / 16 * 8) * stride + column + lane / 8 % 2 * VECTOR<S>;
}

// d[m][2j, 2j+1] += a[m] * (rows 16j.. of the tile)^T over this warp's tiles k of K from K0 to K1; p is the lane's
// `operand`.
template <int FIRST, int LAST, int K0, int K1, int K_TILES, int TILES, class S>
DEVICE void multiply_groups(float (&d)[2][TILES][4], const u32 (&a)[2][K_TILES][4], const S* p, int stride) {
#pragma unroll
  for (int k = K0; k < K1; k++)
#pragma unroll
    for (int j = FIRST; j < LAST; j++) {
      u32 b[4];
      ldmatrix4(b, (const u16*)(p + j * 16 * stride + k * 2 * VECTOR<S>));
      round_operands(b, S());
#pragma unroll
      for (int m = 0; m < 2; m++) {
        mma(d[m][2 * j], a[m][k], b[0], b[1], S());
        mma(d[m][2 * j + 1], a[m][k], b[2], b[3], S());
      }
    }
}

// The same for the first `rows` rows at least: the tile's first half, and the other where it is needed.
template <int K0, int K1, int K_TILES, int TILES, class S>
DEVICE void multiply(float (&d)[2][TILES][4], const u32 (&a)[2][K_TILES][4], const S* p, int stride, int rows) {
  constexpr int GROUPS = TILES / 2, HALF = (GROUPS + 1) / 2;
  multiply_groups<0, HALF, K0, K1>(d, a, p, stride);
  if (rows > HALF * 16) multiply_groups<HALF, GROUPS, K0, K1>(d, a, p, stride);
}

// Starts the copy of `rows` rows of WIDTH numbers, consecutive in global memory, into a tile.
template <int WIDTH, class S>
DEVICE void copy_rows(S* tile, const S* source, int rows, int stride) {
  constexpr int VECTORS = WIDTH / VECTOR<S>;
#pragma unroll 4
  for (int i = threadIdx.x; i < rows * VECTORS; i += THREADS)
    copy16(tile + i / VECTORS * stride + i % VECTORS * VECTOR<S>, source + (size_t)i * VECTOR<S>);
}

// Stores `rows` rows of UNITS staged numbers, 16 bytes at a time, as parts of rows of H numbers.
template <int ROWS, int UNITS, class S>
DEVICE void store_rows(S* target, const S* staged, int rows, int H) {
  constexpr int VECTORS = UNITS / VECTOR<S>;
#pragma unroll
  for (int i = threadIdx.x; i < ROWS * VECTORS; i += THREADS)
    if (i < rows * VECTORS)
      store16(target + (size_t)(i / VECTORS) * H + i % VECTORS * VECTOR<S>, ((const uint4*)staged)[i]);
}

// What the backward needs of unit u of a token, `after` the row of the state after it; nobody waits for these stores.
template <class S>
DEVICE void keep(S* gates, float* c, int token, int after, int u, const LSTMGates& gate, float state, int H) {
  c[(size_t)after * H + u] = state;
  gates += (size_t)token * 4 * H + u;
  put(gates, gate.i), put(gates + H, gate.f), put(gates + 2 * H, gate.g), put(gates + 3 * H, gate.o);
}

#define LSTM_FORWARD(name, S, call)                                                                                   \
  KERNEL(name, THREADS, 1, const u32* W, const float* input_part, const int* lengths, const int* first, S* y,        \
         S* gates, float* c, u32* flag, u32* error, int N) {                                                          \
    call(W, input_part, lengths, first, y, gates, c, flag, error, N);                                                 \
  }
