// The tasks, and the fields of their requests.

const style = {name: 'style', label: 'Style', kind: 'select', half: true, choices: [['coco', 'A sentence'], ['short', 'A few words'], ['detailed', 'In detail']]};
const lang = {name: 'lang', label: 'Language', placeholder: 'en', half: true};
const box = {name: 'box', label: 'Part of the picture', placeholder: 'x0,y0,x1,y1', hint: 'In pixels, or drag over the picture.', wide: true};
const beams = {name: 'beams', label: 'Beams', kind: 'number', min: 1, max: 64, step: 1, placeholder: '1'};
const repeats = {name: 'stop_repeats', label: 'End the text before an object that is in it already', kind: 'check', wide: true};
const writing = [
  {name: 'max_tokens', label: 'Most tokens', kind: 'number', min: 1, step: 1},
  {name: 'temperature', label: 'Temperature', kind: 'number', min: 0, step: 'any', placeholder: '0'},
  {name: 'top_k', label: 'Top-k', kind: 'number', min: 0, step: 1, placeholder: 'all'},
  {name: 'top_p', label: 'Top-p', kind: 'number', min: 0, max: 1, step: 'any', placeholder: '1'},
  {name: 'seed', label: 'Seed', kind: 'number', min: 0, step: 1, placeholder: 'random'},
  beams,
  {name: 'num_return', label: 'Texts of the beams', kind: 'number', min: 1, max: 64, step: 1, placeholder: '1'},
];
const objects = {name: 'objects', label: 'Objects', placeholder: 'cat ; dog', hint: 'Several with ; between them.', split: ';', needed: 'What is to be found?'};
const prompt = {name: 'prompt', label: 'Prompt', kind: 'area', hint: 'Taken as it is.', always: true};

// Each has the fields that are shown and those among the options. writes: the text is
// streamed; picture: one is needed.
export const tasks = [
  {name: 'caption', label: 'Caption', picture: true, writes: true, fields: [style, lang], options: [...writing, box]},
  {name: 'vqa', label: 'Question', picture: true, writes: true, fields: [
    {name: 'prompt', label: 'Question', placeholder: 'Where is the cat?', needed: 'What is the question?'},
    {name: 'choices', label: 'Only these answers', placeholder: 'yes, no', split: ',', hint: 'Optional, with commas between them: the likeliest is the answer.'},
  ], options: [...writing, lang, box]},
  {name: 'ocr', label: 'Text', picture: true, writes: true, fields: [], options: writing},
  {name: 'detect', label: 'Boxes', picture: true, writes: true, finds: true, fields: [objects], options: [...writing, repeats]},
  {name: 'segment', label: 'Masks', picture: true, writes: true, finds: true, fields: [objects], options: [...writing, repeats]},
  {name: 'score', label: 'Rate answers', fields: [
    {...prompt, kind: 'text', placeholder: 'Is there a cat?'},
    {name: 'suffixes', label: 'Answers', kind: 'area', split: '\n', hint: 'One a line: how likely is each?', needed: 'Which answers are to be rated?'},
  ], options: [box]},
  {name: 'generate', label: 'Any prompt', writes: true, many: true, fields: [prompt], options: [...writing, box, repeats]},
  {name: 'parse', label: 'Parse', picture: true, finds: true, fields: [
    {name: 'text', label: 'What a PaliGemma wrote', kind: 'area', placeholder: '<loc0256><loc0128><loc0768><loc0896> cat', hint: 'Its boxes are drawn on the picture.', always: true},
  ], options: []},
];

// control makes the input of a field.
function control(field) {
  if (field.kind === 'select') {
    const select = document.createElement('select');
    for (const [value, text] of field.choices) select.add(new Option(text, value));
    return select;
  }
  if (field.kind === 'area') return document.createElement('textarea');
  const input = document.createElement('input');
  input.type = {check: 'checkbox', number: 'number'}[field.kind] ?? 'text';
  for (const name of ['min', 'max', 'step']) if (field[name] !== undefined) input[name] = field[name];
  return input;
}

// fieldOf makes a field with its label; value is what it begins with.
export function fieldOf(field, value) {
  const around = document.createElement('div');
  const input = control(field);
  input.id = 'field-' + field.name;
  input.name = field.name;
  if (field.placeholder) input.placeholder = field.placeholder;
  const label = document.createElement('label');
  label.append(field.label);
  if (field.kind === 'check') {
    label.className = 'check';
    label.prepend(input);
    input.checked = value === 'true';
    around.append(label);
  } else {
    label.htmlFor = input.id;
    if (value !== undefined) input.value = value;
    around.append(label, input);
  }
  around.className = 'field' + (field.wide ? ' wide' : field.half ? ' half' : '');
  if (field.hint) {
    const hint = document.createElement('p');
    hint.className = 'hint';
    hint.id = input.id + '-hint';
    hint.textContent = field.hint;
    input.setAttribute('aria-describedby', hint.id);
    around.append(hint);
  }
  return around;
}

// values returns what the fields of a task say: pairs of a name and a text.
export function values(task, form) {
  const pairs = [];
  for (const field of [...task.fields, ...task.options]) {
    const input = form.elements['field-' + field.name];
    if (!input) continue;
    if (field.kind === 'check') {
      if (input.checked) pairs.push([field.name, 'true']);
      continue;
    }
    const text = input.value;
    if (field.split) {
      for (const part of text.split(field.split)) if (part.trim()) pairs.push([field.name, part.trim()]);
    } else if (text !== '' || field.always) {
      if (field.kind !== 'select' || text !== field.choices[0][0]) pairs.push([field.name, text]);
    }
  }
  return pairs;
}

// missing returns the field that a task needs and does not have, if there is one.
export function missing(task, pairs) {
  return task.fields.find((field) => field.needed && !pairs.some(([name]) => name === field.name));
}
