// Files that are dropped on the library, or chosen, are sent one after the other, each with its progress. Without
// this file the form sends them all at once.
const form = document.querySelector('[data-upload]');
const field = form?.querySelector('input[type=file]');
const list = document.getElementById('uploads');

const send = (file, line) =>
  new Promise((done) => {
    const body = new FormData();
    body.append('csrf', form.elements.csrf.value);
    body.append('files', file);
    const request = new XMLHttpRequest();
    const bar = line.querySelector('progress');
    const say = (text, bad) => {
      bar.remove();
      line.lastElementChild.textContent = text;
      line.lastElementChild.classList.toggle('bad', bad);
      done();
    };
    request.open('POST', form.action);
    request.upload.addEventListener('progress', (event) => {
      if (event.lengthComputable) bar.value = event.loaded / event.total;
    });
    request.addEventListener('error', () => say('The connection broke. Send it again.', true));
    request.addEventListener('load', () => {
      if (request.status < 400) return say('Uploaded', false);
      // The server's own words, from the page that it answered with.
      const page = new DOMParser().parseFromString(request.responseText, 'text/html');
      const why = page.querySelector('.errsum li, main p');
      say(why?.textContent.trim() || `The server answered ${request.status}.`, true);
    });
    request.send(body);
  });

const take = async (files) => {
  list.hidden = false;
  const waiting = [...files].map((file) => {
    const line = document.createElement('li');
    const name = document.createElement('b');
    name.className = 'grow brk';
    name.textContent = file.name;
    const bar = document.createElement('progress');
    bar.max = 1;
    bar.value = 0;
    bar.setAttribute('aria-label', `Uploading ${file.name}`);
    const state = document.createElement('span');
    line.append(name, bar, state);
    list.append(line);
    return [file, line];
  });
  for (const [file, line] of waiting) await send(file, line);
  field.value = '';
};

if (form) {
  form.addEventListener('submit', (event) => {
    if (!field.files.length) return;
    event.preventDefault();
    take(field.files);
  });
  for (const name of ['dragenter', 'dragover']) {
    form.addEventListener(name, (event) => {
      event.preventDefault();
      form.classList.add('over');
    });
  }
  for (const name of ['dragleave', 'drop']) form.addEventListener(name, () => form.classList.remove('over'));
  form.addEventListener('drop', (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) take(event.dataTransfer.files);
  });
}
