// Arithmetic on rows: a list of Float32Array, one for each hypothesis or position. A matrix is {data, rows, columns}.
"use strict";

// The inner product of two rows, or of their elements from `first` on.
function dot(x, y, first = 0, count = x.length) {
  let sum = 0;
  for (let i = first; i < first + count; i++) sum += x[i] * y[i];
  return sum;
}

// Rows (R, I) by a matrix (O, I), plus a bias (O,) -> rows (R, O). Nearly all time goes here: each row of the matrix is
// read once for all hypotheses, in four sums, which do not wait for each other.
function product(xs, matrix, bias) {
  const { data, rows, columns } = matrix, ys = xs.map(() => new Float32Array(rows));
  for (let o = 0, at = 0; o < rows; o++, at += columns) {
    for (let r = 0; r < xs.length; r++) {
      const x = xs[r];
      let a = bias ? bias[o] : 0, b = 0, c = 0, d = 0, i = 0;
      for (; i + 3 < columns; i += 4) {
        a += data[at + i] * x[i];
        b += data[at + i + 1] * x[i + 1];
        c += data[at + i + 2] * x[i + 2];
        d += data[at + i + 3] * x[i + 3];
      }
      for (; i < columns; i++) a += data[at + i] * x[i];
      ys[r][o] = a + b + c + d;
    }
  }
  return ys;
}

// The rows `start` to `stop` of a matrix, as a matrix on the same numbers.
function rowsOf(matrix, start, stop) {
  const { data, columns } = matrix;
  return { data: data.subarray(start * columns, stop * columns), rows: stop - start, columns };
}

function joined(...parts) {
  const whole = new Float32Array(parts.reduce((size, part) => size + part.length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}

// The sum of rows, each times its weight.
function weighted(weights, rows) {
  const sum = new Float32Array(rows[0].length);
  for (let s = 0; s < rows.length; s++) for (let i = 0; i < sum.length; i++) sum[i] += weights[s] * rows[s][i];
  return sum;
}

const plus = (x, y) => x.map((value, i) => value + y[i]);
const meanOf = (rows) => weighted(rows.map(() => 1 / rows.length), rows);
const tanhOf = (rows) => rows.map((row) => row.map(Math.tanh));
const sigmoid = (x) => 0.5 * Math.tanh(0.5 * x) + 0.5;

function softmax(x) {
  const most = x.reduce((a, b) => Math.max(a, b), -Infinity), exps = x.map((value) => Math.exp(value - most));
  const sum = exps.reduce((a, b) => a + b, 0);
  return exps.map((value) => value / sum);
}

function logSoftmax(x) {
  const most = x.reduce((a, b) => Math.max(a, b), -Infinity);
  const log = most + Math.log(x.reduce((sum, value) => sum + Math.exp(value - most), 0));
  return Float64Array.from(x, (value) => value - log);
}

// The error function, a series of positive terms: 2 / sqrt(pi) e^(-x^2) sum of 2^n x^(2n + 1) / (1 3 5 .. (2n + 1)).
function erf(x) {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x, sum = x;
  for (let n = 1; Math.abs(term) > 1e-17; n++) sum += term *= (2 * x * x) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

const ACTIVATIONS = {
  linear: (x) => x, tanh: Math.tanh, relu: (x) => Math.max(x, 0), gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
};
