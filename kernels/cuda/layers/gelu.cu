// The Gaussian error linear unit, its gradient, and the error function, element by element.
//
// gelu_forward, gelu_forward_tanh:    x [size] f32 -> y [size] f32, exact and in the form with tanh
// gelu_backward, gelu_backward_tanh:  dy, x [size] f32 -> dx [size] f32
// error_function:                     x [size] f32 -> y [size] f32
//
// A thread makes four elements: grid ceil(size / 1024), 256 threads, no shared memory, no barrier.
//
// Source: Hendrycks and Gimpel (2016). Oracle: kernels/reference/gelu.py.
#include "runtime/elements.cuh"

constexpr float ROOT_HALF = 0.70710678f, PEAK = 0.39894228f;  // PEAK: the density of N(0, 1) at 0
constexpr float TWICE_ROOT = 1.59576912f, CUBIC = 0.044715f;  // TWICE_ROOT: 2 sqrt(2 / pi)

// The distribution function of N(0, 1), without the cancellation of 1 + erf.
DEVICE float distribution(float x) { return 0.5f * erfc_(-x * ROOT_HALF); }

// What takes its place in the form with tanh: (1 + tanh(u)) / 2 = sigmoid(2 u).
DEVICE float distribution_tanh(float x) { return sigmoid(TWICE_ROOT * (x + CUBIC * x * x * x)); }

KERNEL(gelu_forward, 256, 4, const float* x, float* y, u64 size) {
  for_elements(size, [=](u64 i) { y[i] = x[i] * distribution(x[i]); });
}

KERNEL(gelu_forward_tanh, 256, 4, const float* x, float* y, u64 size) {
  for_elements(size, [=](u64 i) { y[i] = x[i] * distribution_tanh(x[i]); });
}

KERNEL(gelu_backward, 256, 4, const float* dy, const float* x, float* dx, u64 size) {
  for_elements(size, [=](u64 i) {
    const float density = PEAK * fast_exp(-0.5f * x[i] * x[i]);
    dx[i] = dy[i] * (distribution(x[i]) + x[i] * density);
  });
}

KERNEL(gelu_backward_tanh, 256, 4, const float* dy, const float* x, float* dx, u64 size) {
  for_elements(size, [=](u64 i) {
    const float p = distribution_tanh(x[i]);
    const float density = p * (1.0f - p) * TWICE_ROOT * (1.0f + 3.0f * CUBIC * x[i] * x[i]);
    dx[i] = dy[i] * (p + x[i] * density);
  });
}

KERNEL(error_function, 256, 4, const float* x, float* y, u64 size) {
  for_elements(size, [=](u64 i) { y[i] = erf_(x[i]); });
}
