// Pointwise part of one GRU time step of packed rows, all of which go on: N rows, any H, float32 beside the products.
//
// Arrays are those of a whole sequence: P tokens, and state buffers of h with a row for every state
// (kernels/packing.py). The step's tokens begin at row `token`, the states before it at row `before` and those after it
// at row `after`.
//
// gru_cells_forward:   input_part [P,3,H] in place: pre-activations in blocks r z n -> activated gates;
//                      hidden_part [N,3,H] of this step, bias_ih and bias_hh [3,H] (null: none), h [.,H] state buffer
//                      -> hidden_n [P,H] (the hidden part of block n, with its bias), h, h_bf16 [.,H] (or null)
// gru_cells_backward:  gates, hidden_n, h as above, dy [P,H] (gradient of h from above; null: zero)
//                      -> dinput, dhidden [P,3,H] (gradients of the two parts; dinput may be gates itself), their
//                      copies in bf16 (or null), and in place
//                      dh [N,H]: in, the gradient of h from step t + 1; out, what step t - 1 receives besides
//                                dhidden W_hh, so that the product that follows adds to it (beta = 1)
//
// The copies in bf16 are for the products that follow.
// One thread per cell: grid ceil(N*H / 256), 256 threads, no shared memory, no barrier.
#include "recurrent/cells.cuh"

// Blocks r z n of a unit, with the bias.
DEVICE GRUGates read(const float* part, const float* bias, int unit, int H) {
  GRUGates a = {part[0], part[H], part[2 * H]};
  if (bias) a.r += bias[unit], a.z += bias[H + unit], a.n += bias[2 * H + unit];
  return a;
}

KERNEL(gru_cells_forward, 256, 8, float* input_part, const float* hidden_part, const float* bias_ih,
       const float* bias_hh, float* hidden_n, float* h, u16* h_bf16, int token, int before, int after, int N, int H) {
  const u64 cell = (u64)blockIdx.x * blockDim.x + threadIdx.x, now = cell + (u64)after * H;
  if (cell >= (u64)N * H) return;
  const int unit = cell % H;
  const u64 part = (cell - unit) * 3 + unit, at = part + (u64)token * 3 * H;
  const GRUGates input = read(input_part + at, bias_ih, unit, H), hidden = read(hidden_part + part, bias_hh, unit, H);
  GRUGates gate;
  const float out = gru_cell(input, hidden, h[cell + (u64)before * H], gate);
  hidden_n[cell + (u64)token * H] = hidden.n;
  h[now] = out;
  if (h_bf16) h_bf16[now] = to_bf16(out);
  float* a = input_part + at;
  a[0] = gate.r, a[H] = gate.z, a[2 * H] = gate.n;
}

// d.r, d.z and n, one block each.
template <class S>
DEVICE void write(S* part, const GRUGates& d, float n, int H) {
  put(part, d.r), put(part + H, d.z), put(part + 2 * H, n);
}

KERNEL(gru_cells_backward, 256, 8, const float* gates, const float* hidden_n, const float* h, const float* dy,
       float* dh, float* dinput, float* dhidden, u16* dinput_bf16, u16* dhidden_bf16, int token, int before, int N,
       int H) {
  const u64 cell = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (cell >= (u64)N * H) return;
  const int unit = cell % H;
  const u64 row = cell + (u64)token * H, at = (cell - unit + (u64)token * H) * 3 + unit;
  float dstate = dh[cell] + (dy ? dy[row] : 0.0f), dhidden_n;
  const GRUGates gate = read(gates + at, nullptr, unit, H);
  const GRUGates d = gru_cell_backward(gate, hidden_n[row], h[cell + (u64)before * H], dstate, dhidden_n);
  dh[cell] = dstate;
  write(dinput + at, d, d.n, H), write(dhidden + at, d, dhidden_n, H);
  if (dinput_bf16) write(dinput_bf16 + at, d, d.n, H);
  if (dhidden_bf16) write(dhidden_bf16 + at, d, dhidden_n, H);
}
