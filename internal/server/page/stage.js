// The picture, and on it what was found.

import {colorsOf, inkOn, unpack} from './marks.js';

const mostHeight = 0.74; // of the window
const maskAlpha = 0.45;

// Stage shows a picture on a canvas.
export class Stage {
  constructor(canvas) {
    this.canvas = canvas;
    this.clear();
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement);
    addEventListener('resize', () => this.draw());
  }

  clear() {
    this.bitmap?.close();
    this.bitmap = null;
    this.size = null;
    this.objects = [];
    this.masks = [];
    this.lit = -1;
    this.part = null;
    this.canvas.hidden = true;
  }

  // show shows a picture, and reports whether the browser can.
  async show(file) {
    this.clear();
    try {
      this.bitmap = await createImageBitmap(file); // upright
      this.size = [this.bitmap.width, this.bitmap.height];
    } catch {
      this.size = null;
    }
    this.canvas.hidden = false;
    this.say([]);
    this.draw();
    return this.bitmap !== null;
  }

  // mark draws objects; size is that of the picture.
  mark(objects, size) {
    this.objects = objects;
    this.colors = colorsOf(objects.map((o) => o.label));
    this.size ??= size;
    this.lit = -1;
    this.masks = objects.map((o) => (o.mask?.rle ? this.mask(o) : null));
    this.say(objects);
    this.draw();
  }

  // light brings out one object; -1: none.
  light(i) {
    if (this.lit === i) return;
    this.lit = i;
    this.draw();
  }

  // say describes the picture to those who do not see it.
  say(objects) {
    const names = objects.map((o) => o.label || 'unnamed');
    const found = names.length ? `, with ${names.length === 1 ? 'an object' : names.length + ' objects'}: ${names.slice(0, 20).join(', ')}` : '';
    this.canvas.setAttribute('aria-label', 'The picture' + found);
  }

  // mask makes a picture of a mask, in its color.
  mask(o) {
    const {width, height, alpha} = unpack(o.mask.rle, 1600);
    const [r, g, b] = this.colors.get(o.label);
    const data = new ImageData(width, height);
    for (let i = 0; i < alpha.length; i++) {
      if (!alpha[i]) continue;
      const x = i % width;
      const edge = x === 0 || x === width - 1 || !alpha[i - 1] || !alpha[i + 1] || !alpha[i - width] || !alpha[i + width];
      data.data.set([r, g, b, edge ? 255 : 255 * maskAlpha], 4 * i);
    }
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext('2d').putImageData(data, 0, 0);
    return canvas;
  }

  // fit gives the canvas the size of the picture on the page.
  fit() {
    const [w, h] = this.size ?? [4, 3];
    const room = this.canvas.parentElement.clientWidth;
    const scale = Math.min(room / w, (innerHeight * mostHeight) / h, Math.max(2, 640 / Math.max(w, h)));
    const width = Math.max(1, Math.round(w * scale)), height = Math.max(1, Math.round(h * scale));
    const dense = devicePixelRatio || 1;
    this.canvas.style.width = width + 'px';
    this.canvas.style.height = height + 'px';
    this.canvas.width = Math.round(width * dense);
    this.canvas.height = Math.round(height * dense);
    return {width, height, dense, scale: width / w};
  }

  draw() {
    if (this.canvas.hidden) return;
    const {width, height, dense, scale} = this.fit();
    const c = this.canvas.getContext('2d');
    c.scale(dense, dense);
    c.imageSmoothingQuality = 'high';
    if (this.bitmap) c.drawImage(this.bitmap, 0, 0, width, height);
    else blank(c, width, height, this.canvas);
    this.masks.forEach((mask, i) => {
      if (!mask) return;
      c.globalAlpha = this.lit < 0 || this.lit === i ? 1 : 0.25;
      c.drawImage(mask, 0, 0, width, height);
    });
    c.globalAlpha = 1;
    this.drawBoxes(c, scale, width, height);
    if (this.part) drawPart(c, this.part.map((v) => v * scale), width, height);
  }

  drawBoxes(c, scale, width, height) {
    const boxes = this.objects.map((o) => {
      const [x0, y0, x1, y1] = o.box.map((v) => v * scale);
      return {x: Math.min(x0, x1), y: Math.min(y0, y1), w: Math.abs(x1 - x0), h: Math.abs(y1 - y0)};
    });
    const order = boxes.map((_, i) => i).sort((a, b) => boxes[b].w * boxes[b].h - boxes[a].w * boxes[a].h);
    for (const i of order) {
      const b = boxes[i];
      c.globalAlpha = this.lit < 0 || this.lit === i ? 1 : 0.3;
      c.lineJoin = 'round';
      for (const [color, line] of [['rgb(0 0 0 / 0.35)', 4], [css(this.colors.get(this.objects[i].label)), 2.5]]) {
        c.strokeStyle = color;
        c.lineWidth = this.lit === i ? line + 1 : line;
        c.strokeRect(b.x, b.y, b.w, b.h);
      }
    }
    c.globalAlpha = 1;
    const taken = [];
    for (const i of order.reverse()) {
      if (this.lit < 0 || this.lit === i) this.drawLabel(c, boxes[i], this.objects[i].label, taken, width, height);
    }
  }

  // drawLabel sets a label where it hides no other, if there is such a place.
  drawLabel(c, b, label, taken, width, height) {
    if (!label) return;
    c.font = '600 13px system-ui, sans-serif';
    c.textBaseline = 'middle';
    const w = Math.min(c.measureText(label).width + 12, width), h = 20;
    const inside = (x, y) => ({x: Math.max(0, Math.min(x, width - w)), y: Math.max(0, Math.min(y, height - h)), w, h});
    const places = [
      inside(b.x, b.y - h - 1), inside(b.x + 2, b.y + 2), inside(b.x, b.y + b.h + 1), inside(b.x + b.w - w, b.y - h - 1),
      inside(b.x + b.w - w - 2, b.y + 2), inside(b.x + 2, b.y + b.h - h - 2), inside(b.x + b.w - w, b.y + b.h + 1),
    ];
    const hidden = (p) => taken.reduce((sum, t) => sum + overlap(p, t), 0);
    const place = places.reduce((best, p) => (hidden(p) < hidden(best) ? p : best));
    taken.push(place);
    const color = this.colors.get(label);
    c.fillStyle = css(color);
    c.beginPath();
    c.roundRect(place.x, place.y, w, h, 4);
    c.fill();
    c.fillStyle = inkOn(color);
    c.fillText(label, place.x + 6, place.y + h / 2 + 0.5, w - 12);
  }

  // at returns the point of the picture under the pointer, in its pixels.
  at(event) {
    const rect = this.canvas.getBoundingClientRect();
    const [w, h] = this.size;
    return [
      Math.max(0, Math.min(w, ((event.clientX - rect.left) / rect.width) * w)),
      Math.max(0, Math.min(h, ((event.clientY - rect.top) / rect.height) * h)),
    ];
  }
}

const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;

function overlap(a, b) {
  const w = Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x), h = Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y);
  return Math.max(0, w) * Math.max(0, h);
}

// blank stands for a picture that the browser cannot show.
function blank(c, width, height, canvas) {
  c.fillStyle = getComputedStyle(canvas).color;
  c.globalAlpha = 0.6;
  c.font = '15px system-ui, sans-serif';
  c.textAlign = 'center';
  c.fillText('This browser cannot show the picture; the server may read it.', width / 2, height / 2, width - 24);
  c.textAlign = 'start';
  c.globalAlpha = 1;
}

// drawPart darkens all but a part of the picture.
function drawPart(c, [x0, y0, x1, y1], width, height) {
  c.fillStyle = 'rgb(0 0 0 / 0.45)';
  c.beginPath();
  c.rect(0, 0, width, height);
  c.rect(x0, y0, x1 - x0, y1 - y0);
  c.fill('evenodd');
  c.strokeStyle = '#fff';
  c.lineWidth = 1.5;
  c.strokeRect(x0, y0, x1 - x0, y1 - y0);
}
