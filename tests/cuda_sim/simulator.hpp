// Runs a CUDA kernel on one CPU core so that its real source can be tested without a GPU.
//
// Every CUDA thread is a fiber with its own stack. A fiber runs until it must wait (warp collective, __syncthreads,
// grid barrier, spin wait), then the scheduler picks another one. Nothing else ever interrupts a fiber, so a schedule
// is a pure function of `order`: 0 and 1 are fair (round-robin, upwards and downwards); every order >= 2 is a seed for
// an unfair one, in which a warp runs as far as it can before another one gets a turn. Odd seeds pick the next warp at
// random; even seeds rank the warps, so that the last ones starve until nobody else can move (as in "probabilistic
// concurrency testing"). A missing barrier often survives the fair schedules and dies in the unfair ones.
//
// Reported as errors: deadlock; a barrier some threads never reach because they have returned; threads of a block that
// meet at different barriers; misaligned 16-byte accesses; asynchronous copies outside shared memory; writes past the
// end of shared memory. Shared memory starts as 0xFF bytes, which is NaN as float and as bf16.
//
// The scheduler is in simulator.cpp, which is compiled once; a library holds it and its own kernels.
//
// Not modelled: memory ordering (this machine is sequentially consistent), bank conflicts, occupancy, and a second
// block resident on the same SM. Data races show only if some schedule makes them visible.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

struct dim3 { unsigned x = 1, y = 1, z = 1; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };

namespace simulation {

enum Wait { RUN, WARP, BLOCK, GRID, POLL };  // what a fiber waits for; RUN: nothing

struct Launch {  // mirrored in harness.py
  unsigned grid[3], block[3], shared_bytes;
  int coresident;  // 1: all blocks run at once (cooperative launch); 0: one block after another; 2: as 1, and instead of
                   // reporting a deadlock, threads that spin in vain give up, as they do on a device after SPIN_LIMIT
  int order;       // schedule
  unsigned arguments;  // how many the caller gives
};

struct Copy { void* to; const void* from; };

struct Fiber {
  ucontext_t start;           // used for the first entry only
  jmp_buf resume;             // later switches: no system call, 20 times faster than swapcontext
  bool started = false, done = false;
  Wait wait = RUN;
  int line = 0;               // source line of the barrier it waits at
  dim3 thread, block;
  char* shared = nullptr;     // of its block
  unsigned lane = 0;
  uint64_t mailbox[2][3];     // operands of warp collectives; two, so that one barrier per collective is enough
  unsigned collectives = 0;
  std::vector<Copy> copies;   // cp.async in flight: they land when the thread waits for them, not before
  std::vector<size_t> batches;  // how many of them had been started at each commit
};

class Simulator {
 public:
  Fiber* me = nullptr;
  dim3 grid, block;
  unsigned shared_bytes = 0;
  bool given_up = false;  // threads that spin in vain are not to wait any longer

  // Called by a fiber: give up the core until the reason is gone.
  void pause(Wait why, int line = 0) {
    me->wait = why, me->line = line;
    to_scheduler();
  }
  // Called by a fiber: stop the launch with an error.
  void fail(const char* text);

  char* shared() { return me->shared; }
  bool is_shared(const void* p, size_t bytes) {
    return (const char*)p >= shared() && (const char*)p + bytes <= shared() + shared_bytes;
  }
  // Post three words, wait until all 32 lanes have done so, and return which mailbox to read theirs from with lane().
  unsigned exchange(uint64_t a, uint64_t b = 0, uint64_t c = 0) {
    const unsigned box = me->collectives++ & 1;
    me->mailbox[box][0] = a, me->mailbox[box][1] = b, me->mailbox[box][2] = c;
    pause(WARP, -1);
    return box;
  }
  const uint64_t* lane(unsigned other, unsigned box) { return me[(int)other - (int)me->lane].mailbox[box]; }

 private:
  void to_scheduler();
};

extern Simulator sim;

// Runs call(kernel) in every fiber. 0, or 1 where an error is to be told: a number of arguments that is not the expected
// one, too.
int run(const Launch& how, unsigned expected, void (*call)(void*), void* kernel);

// Calls kernel(args...) in every fiber. `args` has one pointer per parameter, as in cuLaunchKernel.
template <class... P, size_t... I>
int launch(void (*kernel)(P...), const Launch* how, void** args, std::index_sequence<I...>) {
  auto body = [=] { kernel(*(P*)args[I]...); };
  return run(*how, sizeof...(P), [](void* f) { (*(decltype(body)*)f)(); }, &body);
}
template <class... P>
int launch(void (*kernel)(P...), const Launch* how, void** args) {
  return launch(kernel, how, args, std::index_sequence_for<P...>());
}
}  // namespace simulation

#define threadIdx (simulation::sim.me->thread)
#define blockIdx (simulation::sim.me->block)
#define blockDim (simulation::sim.block)
#define gridDim (simulation::sim.grid)
#define __syncthreads() simulation::sim.pause(simulation::BLOCK, __LINE__)
