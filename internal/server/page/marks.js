// Colors of labels, and masks in run-length encoding.

// As the command line's drawings have them.
const palette = [
  'e6194b', '3cb44b', 'ffe119', '4363d8', 'f58231', '911eb4', '46f0f0', 'f032e6', 'bcf60c', '008080',
  'fa8072', '9a6324', '800000', '00c88c', '808000', '1e90ff', '00009c', 'ff69b4', '6a5acd', 'ffbf00',
].map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));

// paletteIndex returns the color that a label has where no other has it: FNV-1a.
function paletteIndex(label) {
  let sum = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(label)) sum = Math.imul(sum ^ byte, 0x01000193) >>> 0;
  return ((sum ^ (sum >>> 16)) >>> 0) % palette.length;
}

// colorsOf returns the colors of labels, no two the same while there are some left.
export function colorsOf(labels) {
  const colors = new Map(), taken = new Set(), others = [];
  for (const label of new Set(labels)) {
    const i = paletteIndex(label);
    if (taken.has(i)) others.push(label);
    else colors.set(label, palette[i]), taken.add(i);
  }
  for (const label of others) {
    let i = paletteIndex(label);
    for (let n = 0; n < palette.length && taken.has(i); n++) i = (i + 1) % palette.length;
    colors.set(label, palette[i]), taken.add(i);
  }
  return colors;
}

// inkOn returns the color of text on a color: black or white, whichever has more contrast.
export function inkOn(color) {
  const [r, g, b] = color.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? '#000' : '#fff';
}

// runs decodes COCO's compressed counts: lengths of what is outside and inside the
// mask, in turns, column by column. From the third on they are differences to the one
// before the last.
export function runs(text) {
  const out = [];
  for (let i = 0; i < text.length;) {
    let value = 0, shift = 0, code;
    do {
      code = text.charCodeAt(i++) - 48;
      value |= (code & 0x1f) << shift;
      shift += 5;
    } while (code & 0x20 && i < text.length);
    if (code & 0x10 && shift < 32) value |= -1 << shift;
    if (out.length > 2) value += out[out.length - 2];
    out.push(value);
  }
  return out;
}

// unpack returns the pixels of a mask, row by row, 1 inside it. A mask with a side of
// more than most pixels is made smaller.
export function unpack({size: [h, w], counts}, most) {
  const step = Math.max(1, Math.ceil(Math.max(w, h) / most));
  const width = Math.ceil(w / step), height = Math.ceil(h / step);
  const alpha = new Uint8Array(width * height);
  const lengths = runs(counts);
  let run = 0, end = lengths[0] ?? 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      const at = x * step * h + y * step;
      while (at >= end && run < lengths.length - 1) end += lengths[++run];
      if (at < end && run % 2 === 1) alpha[y * width + x] = 1;
    }
  }
  return {width, height, alpha};
}
