// Initial states of a recurrence into its state buffers, and last states out of them; gradients of states likewise.
//
//   start_states   h0, c0 [N,H] f32 (null: zeros), order [N] i64 (null: as they are)
//                  -> the first N rows of h f32, h_bf16, c f32 [.,width] (each may be null): row n is row order[n],
//                  zeros from column H on; flags [num_flags] u32 (or null) become zero
//   end_states     h f32 or h_bf16 [.,width] (the other null), c [.,width] f32 (or null), rows [N] i64 (null: first,
//                  first + 1, ...) -> h_n, c_n [N,H] f32 (c_n may be null): row n is row rows[n]
//
// One launch each, in place of a copy per array. A thread takes an element: grid ceil(N * width / 256), for end_states
// ceil(N * H / 256), at least 1; 256 threads, no barrier.
#include "runtime/device.cuh"

KERNEL(start_states, 256, 8, const float* h0, const float* c0, const i64* order, float* h, u16* h_bf16, float* c,
       u32* flags, int num_flags, int N, int H, int width) {
  const u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (flags)
    for (u64 k = i; k < (u64)num_flags; k += (u64)gridDim.x * blockDim.x) flags[k] = 0;
  if (i >= (u64)N * width) return;
  const int n = (int)(i / width), column = (int)(i % width);
  const i64 from = (order ? order[n] : n) * H + column;
  const float state = h0 && column < H ? h0[from] : 0.0f, cell = c0 && column < H ? c0[from] : 0.0f;
  if (h) h[i] = state;
  if (h_bf16) h_bf16[i] = to_bf16(state);
  if (c) c[i] = cell;
}

KERNEL(end_states, 256, 8, const float* h, const u16* h_bf16, const float* c, const i64* rows, float* h_n, float* c_n,
       int first, int N, int H, int width) {
  const u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= (u64)N * H) return;
  const i64 n = (i64)(i / H), from = (rows ? rows[n] : first + n) * width + (i64)(i % H);
  h_n[i] = h ? h[from] : to_float(h_bf16[from]);
  if (c_n) c_n[i] = c[from];
}
