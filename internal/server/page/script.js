// The page: what is asked, of which picture, and what comes of it.

import {alternativeTable, facts, objectTable, scoreTable} from './answer.js';
import {ask, curl, Failure, get} from './request.js';
import {Stage} from './stage.js';
import {fieldOf, missing, tasks, values} from './tasks.js';

const $ = (id) => document.getElementById(id);
const form = $('form');
const stage = new Stage($('canvas'));
const kept = {}; // what was typed, by field
let task = tasks[0];
let files = [];
let running = null; // an AbortController

// --- tasks and fields ---

for (const t of tasks) {
  const label = document.createElement('label'), input = document.createElement('input'), name = document.createElement('span');
  Object.assign(input, {type: 'radio', name: 'task', value: t.name, checked: t === task});
  input.addEventListener('change', () => choose(t));
  name.textContent = t.label;
  label.append(input, name);
  $('tasks').append(label);
}

// choose shows the fields of a task.
function choose(t) {
  keep();
  task = t;
  $('fields').replaceChildren(...t.fields.map((f) => fieldOf(f, kept[f.name])));
  $('options').replaceChildren(...[...models(), ...t.options].map((f) => fieldOf(f, kept[f.name])));
  $('more').hidden = !$('options').hasChildNodes();
  $('canvas').classList.toggle('pick', takesPart());
  showPart();
  changed();
}

// keep remembers what the fields say, for other tasks that have them.
function keep() {
  for (const input of form.querySelectorAll('[id^="field-"]')) kept[input.name] = input.type === 'checkbox' ? String(input.checked) : input.value;
}

let modelNames = [];
const models = () => (modelNames.length > 1 ? [{name: 'model', label: 'Model', kind: 'select', choices: modelNames.map((n) => [n, n]), wide: true}] : []);

// request returns what is asked.
function request() {
  const pairs = values({fields: task.fields, options: [...models(), ...task.options]}, form);
  return {task, pairs, files: task.many ? files : files.slice(0, 1), key: $('key').value};
}

// changed shows the command line of what is asked now.
function changed() {
  $('curl').textContent = curl(request());
}

form.addEventListener('input', () => { showPart(); changed(); });

// --- the picture ---

async function take(list) {
  const pictures = [...list].filter((f) => f.type.startsWith('image/') || /\.(heic|avif|tiff?|p[pgb]m)$/i.test(f.name));
  if (!pictures.length) {
    if (list.length) complain(new Failure('that is not a picture'));
    return;
  }
  files = pictures;
  forget();
  $('empty').hidden = true;
  $('drop').classList.add('full');
  $('caption-bar').hidden = false;
  await stage.show(files[0]);
  const size = stage.size ? `${stage.size[0]} × ${stage.size[1]}` : '';
  const others = files.length > 1 ? `and ${files.length - 1} more` : '';
  $('picture-name').textContent = [files[0].name || 'Pasted picture', others, size].filter(Boolean).join(', ');
  const part = form.elements['field-box'];
  if (part) part.value = '';
  delete kept.box;
  changed();
}

function remove() {
  files = [];
  stage.clear();
  forget();
  $('empty').hidden = false;
  $('drop').classList.remove('full');
  $('caption-bar').hidden = true;
  changed();
  $('file').focus();
}

for (const id of ['file', 'camera']) $(id).addEventListener('change', (e) => { take(e.target.files); e.target.value = ''; });
$('clear').addEventListener('click', remove);
$('sample').addEventListener('click', async () => {
  const response = await fetch('/page/sample.jpg');
  keep();
  kept.objects ||= 'square ; cross ; circle';
  choose(task);
  take([new File([await response.blob()], 'sample.jpg', {type: 'image/jpeg'})]);
});

addEventListener('paste', (e) => {
  if (e.clipboardData?.files.length) { e.preventDefault(); take(e.clipboardData.files); }
});
let over = 0;
addEventListener('dragenter', (e) => { e.preventDefault(); over++; $('drop').classList.add('over'); });
addEventListener('dragleave', () => { if (--over <= 0) $('drop').classList.remove('over'); });
addEventListener('dragover', (e) => e.preventDefault());
addEventListener('drop', (e) => { e.preventDefault(); over = 0; $('drop').classList.remove('over'); take(e.dataTransfer.files); });

// --- a part of the picture ---

const takesPart = () => task.options.some((f) => f.name === 'box');

// showPart darkens what is not asked about.
function showPart() {
  const numbers = takesPart() ? (form.elements['field-box']?.value ?? '').split(',').map(parseFloat) : [];
  const part = numbers.length === 4 && numbers.every(Number.isFinite) && numbers[2] > numbers[0] && numbers[3] > numbers[1] ? numbers : null;
  if (String(part) === String(stage.part)) return;
  stage.part = part;
  stage.draw();
}

$('canvas').addEventListener('pointerdown', (down) => {
  if (!takesPart() || !stage.size || down.button !== 0) return;
  const [x, y] = stage.at(down), field = form.elements['field-box'];
  const move = (e) => {
    const [u, v] = stage.at(e);
    const part = [Math.min(x, u), Math.min(y, v), Math.max(x, u), Math.max(y, v)].map(Math.round);
    field.value = part[2] - part[0] > 3 && part[3] - part[1] > 3 ? part.join(',') : '';
    showPart();
    changed();
  };
  $('canvas').setPointerCapture(down.pointerId);
  $('canvas').addEventListener('pointermove', move);
  $('canvas').addEventListener('pointerup', (up) => { move(up); $('canvas').removeEventListener('pointermove', move); }, {once: true});
});

// --- asking ---

form.addEventListener('submit', (e) => { e.preventDefault(); run(); });
addEventListener('keydown', (e) => {
  if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) { e.preventDefault(); form.requestSubmit(); }
  if (e.key === 'Escape') running?.abort();
});
$('stop').addEventListener('click', () => running?.abort());

// forget takes away the last answer.
function forget() {
  running?.abort();
  for (const id of ['text', 'error', 'raw']) $(id).hidden = true;
  for (const id of ['found', 'facts', 'status', 'text']) $(id).replaceChildren();
  for (const input of form.querySelectorAll('[aria-invalid]')) input.removeAttribute('aria-invalid');
  stage.mark([], stage.size);
}

function busy(controller) {
  running = controller;
  $('ask').disabled = controller !== null;
  $('stop').hidden = controller === null;
  $('status').classList.toggle('busy', controller !== null);
}

async function run() {
  if (running) return;
  forget();
  const q = request();
  const lacking = missing(task, q.pairs);
  if (task.picture && !q.files.length) return complain(new Failure('choose a picture first'), $('file'));
  if (lacking) return complain(new Failure(lacking.needed), form.elements['field-' + lacking.name]);
  const controller = new AbortController();
  busy(controller);
  if (matchMedia('(max-width: 820px)').matches) document.querySelector(task.finds ? '.stage' : '.answer').scrollIntoView({block: task.finds ? 'start' : 'nearest'});
  $('status').textContent = 'Looking…';
  let text = '';
  try {
    const answer = await ask({...q, signal: controller.signal, onText: (piece) => {
      text += piece;
      showText(text, task.finds);
    }});
    $('status').textContent = '';
    show(answer);
  } catch (error) {
    $('status').textContent = error.name === 'AbortError' ? 'Stopped.' : '';
    if (error.name !== 'AbortError') complain(error);
  } finally {
    busy(null);
  }
}

// showText shows what the model writes; where it is locations, in small.
function showText(text, small) {
  $('text').hidden = false;
  $('text').classList.toggle('small', small === true);
  $('text').textContent = text;
}

// show shows an answer.
function show(answer) {
  const found = $('found');
  if (answer.objects) {
    stage.mark(answer.objects, [answer.width, answer.height]);
    if (answer.objects.length) found.append(objectTable(answer.objects, stage.colors, (i) => stage.light(i)));
    else $('status').textContent = 'Nothing found.';
    $('text').hidden = true;
  } else if (answer.text !== undefined) {
    showText(answer.text || '(nothing)');
  }
  if (answer.scores) found.append(scoreTable(answer.scores));
  if (answer.alternatives?.length > 1) found.append(alternativeTable(answer.alternatives));
  $('facts').textContent = facts(answer);
  $('json').textContent = JSON.stringify(answer, null, 2);
  $('raw').hidden = false;
  if (answer.objects?.length) $('status').textContent = '';
}

// complain shows an error, at the field that it is about if there is one.
function complain(error, at) {
  $('error').textContent = error.message;
  $('error').hidden = false;
  const field = at ?? form.elements['field-' + error.param];
  if (error.status === 401) {
    $('key-field').hidden = false;
    $('error').textContent = $('key').value ? 'The server does not know this key.' : 'This server wants an API key.';
    $('key').setAttribute('aria-invalid', 'true');
    $('key').focus();
  } else if (field?.focus) {
    field.setAttribute('aria-invalid', 'true');
    field.closest('details')?.setAttribute('open', '');
    field.focus();
  }
}

$('copy').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText($('curl').textContent);
    $('copy').textContent = 'Copied';
  } catch { // not a secure page
    getSelection().selectAllChildren($('curl'));
    $('copy').textContent = 'Press Ctrl+C';
  }
  setTimeout(() => { $('copy').textContent = 'Copy'; }, 2000);
});

// --- the server ---

$('key').value = sessionStorage.getItem('key') ?? '';
$('key').addEventListener('change', () => { sessionStorage.setItem('key', $('key').value); serving(); });

// serving says which models there are.
async function serving() {
  try {
    const list = await get('/v1/models', $('key').value);
    modelNames = list.data.map((m) => m.id);
    $('serving').textContent = modelNames.length > 1 ? modelNames.length + ' models' : modelNames[0];
    $('key-field').hidden = !$('key').value;
    choose(task);
  } catch (error) {
    if (error.status === 401) $('key-field').hidden = false;
  }
}

choose(task);
serving();
