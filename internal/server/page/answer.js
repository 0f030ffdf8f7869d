// What is shown of an answer, besides the picture.

const percent = (v) => (v === undefined ? '' : (100 * v).toFixed(v < 0.9995 ? 1 : 0) + ' %');
const signed = (v, digits) => v.toFixed(digits).replace(/^-0\.0+$/, '0').replace('-', '−');
const seconds = (ms) => (ms >= 1000 ? (ms / 1000).toFixed(1) + ' s' : Math.round(ms) + ' ms');

// element makes an element with a class and content.
function element(name, className, ...content) {
  const e = document.createElement(name);
  if (className) e.className = className;
  e.append(...content);
  return e;
}

// table makes a table with a caption and the names of its columns.
function table(caption, columns, rows) {
  const head = element('tr', '');
  for (const [text, kind] of columns) {
    const th = element('th', kind, text);
    th.scope = 'col';
    head.append(th);
  }
  return element('table', '', element('caption', '', caption), element('thead', '', head), element('tbody', '', ...rows));
}

// objectTable lists objects; light is called with the index of the one that is looked at.
export function objectTable(objects, colors, light) {
  const sure = objects.some((o) => o.confidence !== undefined), masked = objects.some((o) => o.mask?.area !== undefined);
  const rows = objects.map((o, i) => {
    const swatch = element('span', 'swatch');
    swatch.style.background = `rgb(${colors.get(o.label).join(' ')})`;
    const row = element('tr', '', element('td', '', swatch, o.label || '(unnamed)'), element('td', 'number', o.box.map(Math.round).join(', ')));
    if (masked) row.append(element('td', 'number', o.mask?.area?.toLocaleString('en') ?? ''));
    if (sure) row.append(element('td', 'number', percent(o.confidence)));
    row.tabIndex = 0;
    for (const on of ['mouseenter', 'focus']) row.addEventListener(on, () => light(i));
    for (const off of ['mouseleave', 'blur']) row.addEventListener(off, () => light(-1));
    return row;
  });
  const columns = [['Object'], ['Box', 'number']];
  if (masked) columns.push(['Pixels', 'number']);
  if (sure) columns.push(['Confidence', 'number']);
  return table(objects.length === 1 ? '1 object' : objects.length + ' objects', columns, rows);
}

// scoreTable lists texts that were rated, with their shares of the likelihood.
export function scoreTable(scores) {
  const best = scores[0].sum;
  const all = scores.reduce((sum, s) => sum + Math.exp(s.sum - best), 0);
  const rows = scores.map((s) => {
    const share = Math.exp(s.sum - best) / all;
    const meter = document.createElement('meter');
    meter.value = share;
    meter.setAttribute('aria-label', 'Share');
    return element('tr', '', element('td', '', s.suffix || '(nothing)'), element('td', '', meter), element('td', 'number', percent(share)), element('td', 'number', signed(s.sum, 2)));
  });
  return table('The likeliest first', [['Text'], ['Share'], ['', 'number'], ['Log-probability', 'number']], rows);
}

// alternativeTable lists the texts of a beam search.
export function alternativeTable(alternatives) {
  return table('Alternatives', [['Text'], ['Score', 'number']], alternatives.map((a) => element('tr', '', element('td', '', a.text), element('td', 'number', signed(a.score, 3)))));
}

// facts says how an answer came about.
export function facts(answer) {
  const parts = [];
  const t = answer.timings;
  if (answer.objects === undefined && answer.confidence !== undefined) parts.push(`confidence ${percent(answer.confidence)}`);
  if (answer.finish_reason === 'length') parts.push('cut off at the most tokens');
  if (t) {
    parts.push(seconds(t.image_ms + t.vision_ms + t.prefill_ms + t.decode_ms));
    const detail = [];
    if (t.vision_ms > 0) detail.push(`picture ${seconds(t.image_ms + t.vision_ms)}`);
    detail.push(`prompt ${seconds(t.prefill_ms)}`);
    if (t.decode_tokens > 0) detail.push(`${t.decode_tokens} ${t.decode_tokens === 1 ? 'token' : 'tokens'} ${seconds(t.decode_ms)}`);
    parts[parts.length - 1] += ` (${detail.join(', ')})`;
  }
  for (const warning of answer.warnings ?? []) parts.push(warning);
  if (answer.dropped?.length) parts.push(`${answer.dropped_count ?? answer.dropped.length} pieces of text are not objects`);
  const line = parts.join(' · ');
  return line && line[0].toUpperCase() + line.slice(1);
}
