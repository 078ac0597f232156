// The spectrogram, drawn by the browser from the sound that it decodes itself.

const RATE_HZ = 16000;
const SIZE = 512;
const COLUMNS = 1000;
const RANGE_DB = 70;
export const LONG_S = 600; // longer clips are decoded only when asked for: an hour takes hundreds of megabytes

/** Mono samples at 16 kHz, or null where the browser cannot decode the file. */
export async function decode(url) {
  const bytes = await (await fetch(url)).arrayBuffer();
  try {
    const buffer = await new OfflineAudioContext(1, 1, RATE_HZ).decodeAudioData(bytes);
    const mono = new Float32Array(buffer.length);
    for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
      const data = buffer.getChannelData(channel);
      for (let index = 0; index < data.length; index += 1) mono[index] += data[index] / buffer.numberOfChannels;
    }
    return mono;
  } catch {
    return null;
  }
}

/** Draws it over the whole canvas: time to the right, 0 to 8 kHz upwards. */
export function draw(canvas, samples, durationS) {
  const bins = SIZE / 2;
  canvas.width = COLUMNS;
  canvas.height = bins;
  const context = canvas.getContext("2d");
  const image = context.createImageData(COLUMNS, bins);
  const [real, imaginary] = [new Float32Array(SIZE), new Float32Array(SIZE)];
  const levels = new Float32Array(COLUMNS * bins);
  let loudest = -Infinity;
  for (let column = 0; column < COLUMNS; column += 1) {
    const middle = ((column + 0.5) / COLUMNS) * durationS * RATE_HZ;
    const start = Math.round(middle - SIZE / 2);
    for (let index = 0; index < SIZE; index += 1) {
      const hann = 0.5 - 0.5 * Math.cos((2 * Math.PI * index) / SIZE);
      real[index] = (samples[start + index] ?? 0) * hann;
      imaginary[index] = 0;
    }
    fft(real, imaginary);
    for (let bin = 0; bin < bins; bin += 1) {
      const level = 10 * Math.log10(real[bin] ** 2 + imaginary[bin] ** 2 + 1e-12);
      levels[column * bins + bin] = level;
      loudest = Math.max(loudest, level);
    }
  }
  for (let column = 0; column < COLUMNS; column += 1) {
    for (let bin = 0; bin < bins; bin += 1) {
      const share = Math.max(0, Math.min(1, 1 + (levels[column * bins + bin] - loudest) / RANGE_DB));
      image.data.set(colour(share), 4 * ((bins - 1 - bin) * COLUMNS + column));
    }
  }
  context.putImageData(image, 0, 0);
}

/** Black, violet, orange, pale yellow: brighter is louder, also in grey. */
function colour(share) {
  const stops = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];
  const at = share * (stops.length - 1);
  const low = Math.min(stops.length - 2, Math.floor(at));
  return [...stops[low].map((value, index) => value + (at - low) * (stops[low + 1][index] - value)), 255];
}

/** In place; the length is a power of two. J. Cooley, J. Tukey (1965), iterative form. */
export function fft(real, imaginary) {
  const n = real.length;
  for (let index = 1, reversed = 0; index < n; index += 1) {
    let bit = n >> 1;
    for (; reversed & bit; bit >>= 1) reversed ^= bit;
    reversed ^= bit;
    if (index < reversed) {
      [real[index], real[reversed]] = [real[reversed], real[index]];
      [imaginary[index], imaginary[reversed]] = [imaginary[reversed], imaginary[index]];
    }
  }
  for (let length = 2; length <= n; length *= 2) {
    const angle = (-2 * Math.PI) / length;
    for (let k = 0; k < length / 2; k += 1) {
      const [c, s] = [Math.cos(angle * k), Math.sin(angle * k)];
      for (let start = k; start < n; start += length) {
        const other = start + length / 2;
        const [r, i] = [real[other] * c - imaginary[other] * s, real[other] * s + imaginary[other] * c];
        [real[other], imaginary[other]] = [real[start] - r, imaginary[start] - i];
        [real[start], imaginary[start]] = [real[start] + r, imaginary[start] + i];
      }
    }
  }
}
