// The exponential in a form that loops become vector instructions of, and how functions are shown to Python.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(_WIN32)
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace {

// exp for x ≤ 0 by Cephes' reduction and polynomial (S. Moshier, netlib.org/cephes, expf.c), good to 2 ulp; a
// loop of it becomes vector instructions, which a call of std::exp does not.
inline float exponential(float x) {
  const float least = -87.33f;
  const float y = x < least ? least : x;
  const float n = std::nearbyint(y * 1.44269504088896341f);
  const float r = (y - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const std::int32_t bits = (static_cast<std::int32_t>(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return x < least ? 0.0f : p * power;
}

inline double exponential(double x) { return std::exp(x); }

}  // namespace
