// Pointwise part of one LSTM time step of packed rows, all of which go on: N rows, any H, float32 beside the products.
//
// Arrays are those of a whole sequence: P tokens, and state buffers of h and c with a row for every state
// (kernels/packing.py). The step's tokens begin at row `token`, the states before it at row `before` and those after it
// at row `after`, so a host has to pass but three numbers from step to step.
//
// lstm_cells_forward:   gates [P,4,H] in place: the sum of both products, in blocks i f g o -> activated;
//                       bias [4,H] (null: none), c [.,H] state buffer -> c, h, h_bf16 [.,H] (or null), state buffers
// lstm_cells_backward:  gates, c as above, dy [P,H] (gradient of h from above; null: zero), dh [N,H] (gradient of h
//                       from step t + 1)
//                       -> dgates [P,4,H] (may be gates itself), dgates_bf16 (or null), and in place
//                       dc [N,H]: in, the gradient of c; out, that of the state before
//
// The copies in bf16 are for the products that follow.
// One thread per cell: grid ceil(N*H / 256), 256 threads, no shared memory, no barrier.
#include "recurrent/cells.cuh"

KERNEL(lstm_cells_forward, 256, 8, float* gates, const float* bias, float* c, float* h, u16* h_bf16, int token,
       int before, int after, int N, int H) {
  const u64 cell = (u64)blockIdx.x * blockDim.x + threadIdx.x, now = cell + (u64)after * H;
  if (cell >= (u64)N * H) return;
  const int unit = cell % H;
  float* a = gates + (cell - unit + (u64)token * H) * 4 + unit;
  LSTMGates pre = {a[0], a[H], a[2 * H], a[3 * H]}, gate;
  if (bias) {
    const float* b = bias + unit;
    pre = {pre.i + b[0], pre.f + b[H], pre.g + b[2 * H], pre.o + b[3 * H]};
  }
  float state = c[cell + (u64)before * H];
  const float out = lstm_cell(pre, state, gate);
  c[now] = state;
  h[now] = out;
  if (h_bf16) h_bf16[now] = to_bf16(out);
  a[0] = gate.i, a[H] = gate.f, a[2 * H] = gate.g, a[3 * H] = gate.o;
}

KERNEL(lstm_cells_backward, 256, 8, const float* gates, const float* c, const float* dy, const float* dh, float* dc,
       float* dgates, u16* dgates_bf16, int token, int before, int after, int N, int H) {
  const u64 cell = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (cell >= (u64)N * H) return;
  const int unit = cell % H;
  const u64 at = (cell - unit + (u64)token * H) * 4 + unit;
  const float* a = gates + at;
  float dstate = dc[cell];
  const float above = dh[cell] + (dy ? dy[cell + (u64)token * H] : 0.0f);
  const LSTMGates d = lstm_cell_backward({a[0], a[H], a[2 * H], a[3 * H]}, c[cell + (u64)before * H],
                                         c[cell + (u64)after * H], above, dstate);
  dc[cell] = dstate;
  float* out = dgates + at;
  out[0] = d.i, out[H] = d.f, out[2 * H] = d.g, out[3 * H] = d.o;
  if (dgates_bf16) {
    u16* copy = dgates_bf16 + at;
    copy[0] = to_bf16(d.i), copy[H] = to_bf16(d.f), copy[2 * H] = to_bf16(d.g), copy[3 * H] = to_bf16(d.o);
  }
}
