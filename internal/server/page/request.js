// Requests, their streams, and the same as a command line.

// Failure is an error that the page shows.
export class Failure extends Error {
  constructor(message, status, param) {
    super(sentence(message));
    this.status = status;
    this.param = param;
  }
}

// sentence makes a message of the server one: it begins in lower case and has no stop.
function sentence(text) {
  text = (text || 'something went wrong').trim();
  text = text[0].toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(text) ? text : text + '.';
}

const unreachable = 'the server does not answer: is it still running?';

// failure reads the error of an answer.
async function failure(response) {
  let error = {};
  try {
    ({error} = await response.json());
  } catch {
    error.message = `the server answered with status ${response.status}`;
  }
  let message = error?.message;
  const wait = response.headers.get('Retry-After');
  if (response.status === 429) message = `the server is busy: try again in ${wait === '1' || !wait ? 'a second' : wait + ' seconds'}`;
  return new Failure(message, response.status, error?.param);
}

function headers(key) {
  return key ? {Authorization: 'Bearer ' + key} : {};
}

// get reads a small answer in JSON.
export async function get(path, key) {
  let response;
  try {
    response = await fetch(path, {headers: headers(key)});
  } catch {
    throw new Failure(unreachable, 0);
  }
  if (!response.ok) throw await failure(response);
  return response.json();
}

// ask sends a request, gives onText the text as it comes, and returns the answer.
export async function ask({task, pairs, files, key, signal, onText}) {
  const body = new FormData();
  for (const [name, value] of pairs) body.append(name, value);
  for (const file of files) body.append('image', file, file.name || 'picture');
  let response;
  try {
    response = await fetch('/v1/' + task.name, {
      method: 'POST', body, signal,
      headers: {...headers(key), Accept: task.writes ? 'text/event-stream' : 'application/json'},
    });
    if (!response.ok) throw await failure(response);
    if (!task.writes) return await response.json();
    return await readEvents(response.body, onText);
  } catch (error) {
    if (error instanceof Failure || error.name === 'AbortError') throw error;
    throw new Failure(response ? 'the answer broke off' : unreachable, 0);
  }
}

// readEvents reads a stream to its end.
async function readEvents(body, onText) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const {value, done} = await reader.read();
    if (done) throw new Failure('the answer broke off', 0);
    rest += value;
    const blocks = rest.split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const {kind, data} = event(block);
      if (kind === 'delta') onText(data.delta);
      if (kind === 'error') throw new Failure(data.error.message, 200, data.error.param);
      if (kind === 'result') return data;
    }
  }
}

// event reads one event; a comment has no kind.
function event(block) {
  let kind, data;
  for (const line of block.split('\n')) {
    if (line.startsWith('event: ')) kind = line.slice(7);
    if (line.startsWith('data: ')) data = JSON.parse(line.slice(6));
  }
  return {kind, data};
}

// quoted quotes a text for a shell, where it needs that.
function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

// curl returns the command line of a request.
export function curl({task, pairs, files, key}) {
  const parts = [];
  if (key) parts.push('-H "Authorization: Bearer $API_KEY"');
  const names = files.length ? files.map((file) => file.name || 'picture') : task.picture ? ['photo.jpg'] : [];
  for (const name of names) parts.push('-F ' + quoted('image=@' + (/[;,"]/.test(name) ? `"${name.replaceAll(/[\\"]/g, '\\$&')}"` : name)));
  for (const [name, value] of pairs) {
    const plain = !/^[@<]|;/.test(value); // which -F takes for more than a text
    parts.push((plain ? '-F ' : '--form-string ') + quoted(`${name}=${value}`));
  }
  parts.push(quoted(location.origin + '/v1/' + task.name));
  return 'curl ' + parts.join(parts.join(' ').length > 46 ? ' \\\n  ' : ' ');
}
