// The bodies of kernels/cuda/runtime/device.cuh for the simulator: what each wrapper does, thread by thread, in plain C++.
// Included by device.cuh where the compiler is not one for CUDA.
#pragma once
#include "simulator.hpp"

#define DEVICE static inline
#define SHARED(T, name) T* name = (T*)simulation::sim.shared()
#define KERNEL(name, threads, resident, ...)                          \
  static void name(__VA_ARGS__);                                      \
  extern "C" int sim_##name(const simulation::Launch* how, void** args) { \
    return simulation::launch(name, how, args);                           \
  }                                                                   \
  static void name(__VA_ARGS__)

DEVICE bool is_marked(uint4 v);

DEVICE float bits_to_float(u32 x) { float y; memcpy(&y, &x, 4); return y; }
DEVICE u32 float_to_bits(float x) { u32 y; memcpy(&y, &x, 4); return y; }
DEVICE int opaque(int x) { return x; }
DEVICE bool aligned16(const void* p) { return (uintptr_t(p) & 15) == 0; }

// The products of two words of bf16 operands.
DEVICE float add_products_bf16(float sum, u32 x, u32 y) {
  sum += bits_to_float(x << 16) * bits_to_float(y << 16);
  return sum + bits_to_float(x & 0xFFFF0000u) * bits_to_float(y & 0xFFFF0000u);
}
// Of one word each, of which the tensor core reads the upper 19 bits.
DEVICE float add_product_tf32(float sum, u32 x, u32 y) {
  return sum + bits_to_float(x & 0xFFFFE000u) * bits_to_float(y & 0xFFFFE000u);
}

// In words, of which a row of A has eight: lane l holds A(l/4 + 8*(i%2), l%4 + 4*(i/2)) in a[i], B(l%4 + 4*i, l/4) in
// b<i>, D(l/4 + 8*(i/2), 2*(l%4) + i%2) in d[i]. A word is two neighbours of bf16, or one tf32.
template <float (*ADD)(float, u32, u32)>
DEVICE void mma_words(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  simulation::Simulator& s = simulation::sim;
  const unsigned lane = s.me->lane;
  const unsigned box = s.exchange(u64(a[1]) << 32 | a[0], u64(a[3]) << 32 | a[2], u64(b1) << 32 | b0);
  for (int i = 0; i < 4; i++) {
    const unsigned row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
    for (unsigned k = 0; k < 8; k++) {
      const u32 x = u32(s.lane(row % 8 * 4 + k % 4, box)[k / 4] >> 32 * (row / 8));
      const u32 y = u32(s.lane(column * 4 + k % 4, box)[2] >> 32 * (k / 4));
      d[i] = ADD(d[i], x, y);
    }
  }
}
DEVICE void mma_bf16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { mma_words<add_products_bf16>(d, a, b0, b1); }
DEVICE void mma_tf32(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { mma_words<add_product_tf32>(d, a, b0, b1); }
DEVICE void ldmatrix4(u32 (&r)[4], const u16* row) {
  simulation::Simulator& s = simulation::sim;
  if (!aligned16(row) || !s.is_shared(row, 16)) s.fail("ldmatrix: row address is misaligned or outside shared memory");
  const unsigned lane = s.me->lane, box = s.exchange(uintptr_t(row));
  for (int i = 0; i < 4; i++) r[i] = ((const u32*)s.lane(8 * i + lane / 4, box)[0])[lane % 4];
}
DEVICE void copy16(void* shared, const void* global) {
  if (!aligned16(shared) || !aligned16(global)) simulation::sim.fail("cp.async: misaligned address");
  if (!simulation::sim.is_shared(shared, 16)) simulation::sim.fail("cp.async: target outside shared memory");
  simulation::sim.me->copies.push_back({shared, global});
}
DEVICE void copy_land(size_t count) {
  simulation::Fiber& f = *simulation::sim.me;
  for (size_t i = 0; i < count; i++) memcpy(f.copies[i].to, f.copies[i].from, 16);
  f.copies.erase(f.copies.begin(), f.copies.begin() + count);
}
DEVICE void copy_wait() {
  simulation::sim.me->batches.clear();
  copy_land(simulation::sim.me->copies.size());
}
DEVICE void copy_batch() { simulation::sim.me->batches.push_back(simulation::sim.me->copies.size()); }
DEVICE void copy_wait_first() {
  std::vector<size_t>& batches = simulation::sim.me->batches;
  if (batches.size() < 2) return;
  const size_t count = batches[batches.size() - 2], last = batches.back();
  copy_land(count);
  batches = {last - count};
}

DEVICE bool given_up(u32* error) {
  if (simulation::sim.given_up) *error = BLOCK_LOST;
  return simulation::sim.given_up;
}
DEVICE void spin_acquire(const u32* flag, u32 want, u32* error) {
  while (*(volatile const u32*)flag < want && !given_up(error)) simulation::sim.pause(simulation::POLL);
}
DEVICE void red_release(u32* flag, u32 value) { *(volatile u32*)flag = *(volatile u32*)flag + value; }
DEVICE void store16(void* p, uint4 v) {
  if (!aligned16(p)) simulation::sim.fail("16-byte store: misaligned address");
  memcpy(p, &v, 16);
}
DEVICE uint4 load16(const void* p) {
  if (!aligned16(p)) simulation::sim.fail("16-byte load: misaligned address");
  uint4 v;
  memcpy(&v, p, 16);
  return v;
}
DEVICE uint4 poll16(const void* p, u32* error) {
  uint4 v = load16(p);
  for (; is_marked(v) && !given_up(error); v = load16(p)) simulation::sim.pause(simulation::POLL);
  return v;
}

template <class T>
DEVICE T read_lane(T v, unsigned other) {
  u64 mine = 0;
  memcpy(&mine, &v, sizeof v);
  const unsigned box = simulation::sim.exchange(mine);
  memcpy(&v, simulation::sim.lane(other, box), sizeof v);
  return v;
}
template <class T>
DEVICE T shuffle_xor(T v, int mask) { return read_lane(v, simulation::sim.me->lane ^ mask); }
DEVICE u32 shuffle_up(u32 v, int by) {
  const unsigned lane = simulation::sim.me->lane;
  return read_lane(v, lane >= (unsigned)by ? lane - by : lane);
}
#define grid_sync() simulation::sim.pause(simulation::GRID, __LINE__)

DEVICE float fast_exp(float x) { return std::exp(x); }
DEVICE float reciprocal(float x) { return 1.0f / x; }
DEVICE float erf_(float x) { return std::erf(x); }
DEVICE float erfc_(float x) { return std::erfc(x); }
// One operation each, and the build forbids contraction (-ffp-contract=off).
DEVICE float times(float x, float y) { return x * y; }
DEVICE float plus(float x, float y) { return x + y; }
DEVICE float divide(float x, float y) { return x / y; }
DEVICE float root(float x) { return std::sqrt(x); }

DEVICE u16 to_bf16(float x) {
  const u32 b = float_to_bits(x);
  return x != x ? 0x7FFF : u16((b + 0x7FFF + (b >> 16 & 1)) >> 16);
}
DEVICE u32 to_tf32(float x) {
  return x != x ? 0x7FFFFFFFu : std::isinf(x) ? float_to_bits(x) : (float_to_bits(x) + 0x1000) & 0xFFFFE000u;
}
