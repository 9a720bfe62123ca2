// Arrays moved with a change of type, of order, or of scale; one element is written by one thread, none twice.
//
// f32_to_bf16, bf16_to_f32:   x [size] -> y [size]
// gather_rows_*:              x [*,C], index [R] i64 -> out [R,C], out[k] = x[index[k]], zeros where index[k] < 0
// fill_rows:                  row [C] -> out [R,C], every row of it: a bias to which a product is added
// scale_by:                   x [size] in place, times *factor
//
// The suffix of gather_rows says the type of x and out. No index is checked: they are made by the host. A block covers
// 1024 elements, 256 threads, no barrier: grid ceil(elements / 1024), and where there are rows (R, ceil(C / 1024)), for
// to divide by C is dearer than to move a number.
#include "runtime/elements.cuh"

// Calls body(row, column) for this thread's elements of the block's row.
template <class Body>
DEVICE void for_columns(int R, int C, Body body) {
  const int begin = blockIdx.y * blockDim.x * EACH + threadIdx.x;
  if ((int)blockIdx.x >= R) return;
#pragma unroll
  for (int k = 0; k < EACH; k++)
    if (begin + k * (int)blockDim.x < C) body(blockIdx.x, begin + k * (int)blockDim.x);
}

KERNEL(f32_to_bf16, 256, 8, const float* x, u16* y, u64 size) {
  for_elements(size, [=](u64 i) { y[i] = to_bf16(x[i]); });
}

KERNEL(bf16_to_f32, 256, 8, const u16* x, float* y, u64 size) {
  for_elements(size, [=](u64 i) { y[i] = to_float(x[i]); });
}

KERNEL(scale_by, 256, 8, float* x, const float* factor, u64 size) {
  const float by = *factor;
  if (by == 1.0f) return;  // the usual gradient of a loss
  for_elements(size, [=](u64 i) { x[i] = times(x[i], by); });
}

KERNEL(fill_rows, 256, 8, const float* row, float* out, int R, int C) {
  for_columns(R, C, [=](u64 r, int c) { out[r * C + c] = row[c]; });
}

template <class Number>
DEVICE void gather_rows(const Number* x, const i64* index, Number* out, int R, int C) {
  for_columns(R, C, [=](u64 r, int c) {
    const i64 row = index[r];
    put(out + r * C + c, row < 0 ? 0.0f : to_float(x[row * C + c]));
  });
}

KERNEL(gather_rows_f32, 256, 8, const float* x, const i64* index, float* out, int R, int C) {
  gather_rows(x, index, out, R, C);
}

KERNEL(gather_rows_bf16, 256, 8, const u16* x, const i64* index, u16* out, int R, int C) {
  gather_rows(x, index, out, R, C);
}
