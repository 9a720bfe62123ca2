// All that a persistent LSTM layer needs before its first product, in one launch instead of seven.
//
//   x          [size] f32      -> x_out [size] S                                    null: x is taken as it is
//   weight_ih  [4H,I] f32      -> weight_out [4W,I] S, zeros in the padding         null: likewise
//   weight_hh  [4H,H] f32      -> packed [words] u32 by order [words][4 / sizeof S] i32, for the forward, and
//                                 packed_back [words] by order_back, for the backward (-1: zero); null: not wanted
//   h0, c0     [N,H] f32       -> the first N rows of y [.,W] S and c [.,W] f32, row n from row rows[n] i64 (null: n)
//   flags      [num_flags] u32 -> 0
//   bias       [4H] f32        -> input_part [P,4W] f32, in every row, zeros in the padding    null: nothing
//
// W >= H, a multiple of 64, is the width of the kernel that follows; S is bf16, or float for tf32 (packed is
// rounded, the others are not). A block does 1024 elements of one of these, in this order: the grid is the sum of
// ceil(elements / 1024) over x_out, weight_out, packed, packed_back, y and input_part (0 for null), and at least 1.
// 256 threads, no barrier.
//
// lstm_mark, for the marked kernels: rows N .. N + first[T] - 1 of y [.,W] u16, those of the tokens, become NOT_YET.
// In a captured step y may have more: products read them, so they have to stay numbers. A thread marks 16 bytes: grid
// ceil(elements / 2048) for the most tokens that there may be, 256 threads, no barrier.
#include "recurrent/pack.cuh"

constexpr int EACH = 4;

// Is `block` one of those that a part of so many elements takes? If not, it becomes its number behind them.
DEVICE bool is_of(u64& block, u64 elements) {
  const u64 blocks = (elements + 1023) / 1024;
  if (block < blocks) return true;
  block -= blocks;
  return false;
}

// Calls body(i) for this thread's elements.
template <class Body>
DEVICE void for_elements(u64 block, u64 size, Body body) {
#pragma unroll
  for (int k = 0; k < EACH; k++) {
    const u64 i = (block * EACH + k) * blockDim.x + threadIdx.x;
    if (i < size) body(i);
  }
}

// The row of a [4H,.] array that row r of the padded [4W,.] has, or -1.
DEVICE int row_within(int r, int H, int width) {
  const int unit = r % width;
  return unit < H ? r / width * H + unit : -1;
}

template <class S>
DEVICE void pack(u64 block, const float* weight, const int* order, u32* packed, int words) {
  for_elements(block, words, [=](u64 i) { packed[i] = word_of(weight, order + i * (4 / sizeof(S)), S()); });
}

template <class S>
DEVICE void lstm_prepare(const float* x, S* x_out, u64 size, const float* weight_ih, S* weight_out, int I,
                         const float* weight_hh, const int* order, u32* packed, const int* order_back,
                         u32* packed_back, int words, const float* h0, const float* c0, const i64* rows, S* y, float* c,
                         u32* flags, int num_flags, int N, const float* bias, float* input_part, int P, int H,
                         int width) {
  u64 block = blockIdx.x;
  for (u64 k = block * blockDim.x + threadIdx.x; k < (u64)num_flags; k += (u64)gridDim.x * blockDim.x) flags[k] = 0;
  if (is_of(block, x_out ? size : 0)) {
    for_elements(block, size, [=](u64 i) { put(x_out + i, x[i]); });
  } else if (is_of(block, weight_out ? (u64)4 * width * I : 0)) {
    for_elements(block, (u64)4 * width * I, [=](u64 i) {
      const int row = row_within((int)(i / I), H, width);
      put(weight_out + i, row < 0 ? 0.0f : weight_ih[(u64)row * I + i % I]);
    });
  } else if (is_of(block, words)) {
    pack<S>(block, weight_hh, order, packed, words);
  } else if (is_of(block, packed_back ? words : 0)) {
    pack<S>(block, weight_hh, order_back, packed_back, words);
  } else if (is_of(block, (u64)N * width)) {
    for_elements(block, (u64)N * width, [=](u64 i) {
      const int n = (int)(i / width), unit = (int)(i % width);
      const i64 from = (rows ? rows[n] : n) * H + unit;
      put(y + i, unit < H ? h0[from] : 0.0f);
      c[i] = unit < H ? c0[from] : 0.0f;
    });
  } else if (bias) {
    const u32 chunks = width / 64;  // of 256 columns in a row of input_part
    for_elements(block, (u64)P * 4 * width, [=](u64 i) {
      const int column = (int)((u32)(i / 256) % chunks * 256 + threadIdx.x);
      const int at = H == width ? column : row_within(column, H, width);
      input_part[i] = at < 0 ? 0.0f : bias[at];
    });
  }
}

#define LSTM_PREPARE(name, S)                                                                                          \
  KERNEL(lstm_prepare_##name, 256, 4, const float* x, S* x_out, u64 size, const float* weight_ih, S* weight_out,      \
         int I, const float* weight_hh, const int* order, u32* packed, const int* order_back, u32* packed_back,       \
         int words, const float* h0, const float* c0, const i64* rows, S* y, float* c, u32* flags, int num_flags,     \
         int N, const float* bias, float* input_part, int P, int H, int width) {                                      \
    lstm_prepare<S>(x, x_out, size, weight_ih, weight_out, I, weight_hh, order, packed, order_back, packed_back,      \
                    words, h0, c0, rows, y, c, flags, num_flags, N, bias, input_part, P, H, width);                   \
  }
LSTM_PREPARE(bf16, u16)
LSTM_PREPARE(tf32, float)

KERNEL(lstm_mark, 256, 8, u16* y, const int* first, int T, int N, int width) {
  const u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  constexpr u32 TWO = NOT_YET << 16 | NOT_YET;
  if (i < (u64)first[T] * (width / 8)) ((uint4*)(y + (size_t)N * width))[i] = {TWO, TWO, TWO, TWO};
}
