// Everything a kernel needs from the machine, under one name each. Kernel sources use these names and nothing else, so
// that a second set of bodies (tests/cuda_sim/device.hpp) can run the same sources on a processor without a GPU.
//
//   KERNEL(name, threads, resident, parameters...)   entry point: at most `threads` per block, registers limited so
//     that `resident` blocks fit on a multiprocessor (1 where registers matter: left alone, ptxas may spill)
//   SHARED(T, name)                        the block's dynamic shared memory
//   mma_bf16, mma_tf32, ldmatrix4          tensor core           copy16, copy_wait, copy_batch, copy_wait_first
//   spin_acquire, red_release              flag exchange         store16, load16, poll16, is_marked   data as a flag
//   shuffle_xor, shuffle_up                warp exchange         grid_sync           barrier of a cooperative launch
//   fast_exp, reciprocal, sigmoid, tanh_, erf_, erfc_   float functions
//   to_bf16, to_tf32, to_float, put        conversions
//   in_range                               check of an id, with the error word
//   times, plus, divide, root              rounded one by one, never contracted to a multiply-add
//   opaque                                 a hint to the compiler: do not keep what follows from this number
//
// What a kernel source must not use, because the simulator cannot run it: `__shared__` (SHARED instead, sliced by
// hand), `<<<>>>`, `<cstdint>` (NVRTC has none), PTX or an intrinsic other than `__syncthreads` outside this file, warp
// collectives by fewer than 32 lanes, threads of a warp in lock-step, a block that is no multiple of 32 threads, and
// loops that spin otherwise than through `spin_acquire` and `poll16`.
//
// Source of the instructions: NVIDIA, "Parallel Thread Execution ISA", version 9.0.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;  // also the storage type of bf16
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;  // ids and row numbers, as the host has them

#define NOT_YET 0xFFFFu        // a NaN that to_bf16 never produces: marks an element that nobody has written
#define SPIN_LIMIT (1u << 21)  // about two seconds; then *error is set, and the kernel runs on with wrong numbers
#define BLOCK_LOST 1u          // what *error, one word of a device, can say
#define OUT_OF_RANGE 2u

#ifndef __CUDACC__
#include "device.hpp"
#else

#ifdef USE_GRID_SYNC
#include <cooperative_groups.h>
#endif

#define DEVICE static __device__ __forceinline__
#define SHARED(T, name) T* name = reinterpret_cast<T*>(dynamic_shared)
#define KERNEL(name, threads, resident, ...) \
  extern "C" __global__ void __launch_bounds__(threads, resident) name(__VA_ARGS__)

extern __shared__ uint4 dynamic_shared[];

DEVICE bool is_marked(uint4 v);

DEVICE float bits_to_float(u32 x) { return __uint_as_float(x); }
DEVICE u32 float_to_bits(float x) { return __float_as_uint(x); }

// The same number, but the compiler does not know: what follows from it is not computed earlier and kept.
DEVICE int opaque(int x) {
  asm volatile("" : "+r"(x));
  return x;
}

// d[16x8] += a[16x16] * b[16x8], bf16 operands, float32 sum.
DEVICE void mma_bf16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// d[16x8] += a[16x8] * b[8x8], operands that to_tf32 gave.
DEVICE void mma_tf32(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8x8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8.
DEVICE void ldmatrix4(u32 (&r)[4], const u16* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"((u32)__cvta_generic_to_shared(row))
               : "memory");
}

// 16 bytes from global to shared memory through L2 only (never a stale L1 line); the calling thread may read them after
// copy_wait, the others after the barrier that follows it.
DEVICE void copy16(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((u32)__cvta_generic_to_shared(shared)), "l"(global)
               : "memory");
}
DEVICE void copy_wait() { asm volatile("cp.async.wait_all;" ::: "memory"); }
// The copies since the last call are a batch; copy_wait_first waits for all batches but the last one.
DEVICE void copy_batch() { asm volatile("cp.async.commit_group;" ::: "memory"); }
DEVICE void copy_wait_first() { asm volatile("cp.async.wait_group 1;" ::: "memory"); }

// Has this thread waited too long, or somebody else (who then said so in *error)?
DEVICE bool given_up(u32 tries, u32* error) {
  if (tries >= SPIN_LIMIT) *(volatile u32*)error = BLOCK_LOST;
  return tries >= SPIN_LIMIT || ((tries & 1023) == 1023 && *(volatile u32*)error);
}
// Waits until *flag >= want. Everything released before is then visible to this thread.
DEVICE void spin_acquire(const u32* flag, u32 want, u32* error) {
  for (u32 tries = 0, seen; !given_up(tries, error); tries++) {
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(flag) : "memory");
    if (seen >= want) return;
  }
}
// *flag += value, after all earlier writes of this thread and of those that it has met at a barrier.
DEVICE void red_release(u32* flag, u32 value) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(flag), "r"(value) : "memory");
}

DEVICE void store16(void* p, uint4 v) {
  asm volatile("st.relaxed.gpu.global.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
}
DEVICE uint4 load16(const void* p) {
  uint4 v;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p)
               : "memory");
  return v;
}
// Reads until none of the eight elements is NOT_YET. They may arrive one by one: nothing here needs 16 bytes at once.
DEVICE uint4 poll16(const void* p, u32* error) {
  uint4 v = load16(p);
  for (u32 tries = 0; is_marked(v) && !given_up(tries, error); tries++) v = load16(p);
  return v;
}

DEVICE float shuffle_xor(float v, int mask) { return __shfl_xor_sync(0xFFFFFFFFu, v, mask); }
DEVICE int shuffle_xor(int v, int mask) { return __shfl_xor_sync(0xFFFFFFFFu, v, mask); }
DEVICE double shuffle_xor(double v, int mask) { return __shfl_xor_sync(0xFFFFFFFFu, v, mask); }
DEVICE u32 shuffle_up(u32 v, int by) { return __shfl_up_sync(0xFFFFFFFFu, v, by); }  // lanes < by keep their own value

#ifdef USE_GRID_SYNC
DEVICE void grid_sync() { cooperative_groups::this_grid().sync(); }
#endif

DEVICE float fast_exp(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.4426950408889634f));
  return y;
}
DEVICE float reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
DEVICE float erf_(float x) { return erff(x); }
DEVICE float erfc_(float x) { return erfcf(x); }
DEVICE float times(float x, float y) { return __fmul_rn(x, y); }
DEVICE float plus(float x, float y) { return __fadd_rn(x, y); }
DEVICE float divide(float x, float y) { return __fdiv_rn(x, y); }
DEVICE float root(float x) { return __fsqrt_rn(x); }

DEVICE u16 to_bf16(float x) {  // nearest even; every NaN becomes 0x7FFF
  u16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
DEVICE u32 to_tf32(float x) {  // nearest, halves away from zero: ten bits of mantissa, the others zero
  u32 y;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
  return y;
}

#endif  // ---------------------------------------------------------------------------------------------------- for both

// Is id one of 0..limit-1? If not, *error says so, and the caller has to do without.
DEVICE bool in_range(i64 id, i64 limit, u32* error) {
  if (id >= 0 && id < limit) return true;
  *(volatile u32*)error = OUT_OF_RANGE;
  return false;
}

DEVICE float to_float(u16 x) { return bits_to_float(u32(x) << 16); }
DEVICE float to_float(float x) { return x; }
DEVICE void put(u16* p, float x) { *p = to_bf16(x); }  // store with the conversion that the type asks for
DEVICE void put(float* p, float x) { *p = x; }

// Both saturate correctly at +-infinity and pass NaN on. tanh_ is exact to 1e-7 absolute, not relative.
DEVICE float sigmoid(float x) { return reciprocal(1.0f + fast_exp(-x)); }
DEVICE float tanh_(float x) { return 1.0f - 2.0f * reciprocal(1.0f + fast_exp(2.0f * x)); }

// Is one of the eight 16-bit elements NOT_YET? A half of y is zero <=> (y - 1) & ~y has its top bit set there, and y is
// the complement of v; a borrow from the lower half can only follow a lower half that is zero itself.
DEVICE bool is_marked(uint4 v) {
  const u32 x = ~v.x, y = ~v.y, z = ~v.z, w = ~v.w;
  const u32 zeros = ((x - 0x00010001u) & ~x) | ((y - 0x00010001u) & ~y) | ((z - 0x00010001u) & ~z) |
                    ((w - 0x00010001u) & ~w);
  return zeros & 0x80008000u;
}
