// Says beside a new password how hard it is to guess. The server estimates it; nothing is kept.
for (const field of document.querySelectorAll('[data-strength]')) {
  const meter = document.createElement('meter');
  Object.assign(meter, { className: 'meter mt8', min: 0, max: 4, low: 2, high: 3, optimum: 4, value: 0, hidden: true });
  meter.setAttribute('aria-hidden', 'true');
  const said = document.createElement('p');
  Object.assign(said, { id: `${field.id}-said`, className: 't13 muted' });
  said.setAttribute('role', 'status');
  (field.closest('.inrow') ?? field).after(meter, said);
  field.setAttribute('aria-describedby', `${field.getAttribute('aria-describedby') ?? ''} ${said.id}`.trim());
  let waits;
  field.addEventListener('input', () => {
    clearTimeout(waits);
    waits = setTimeout(() => estimate(field, meter, said), 250);
  });
}

// What guesses begin with: the name and address that the form has.
const ownWords = (form) =>
  [...form.querySelectorAll('[autocomplete=username], [autocomplete=name]')].map((other) => other.value).join(' ');

async function estimate(field, meter, said) {
  const typed = field.value;
  meter.hidden = typed === '';
  if (typed === '') return void (said.textContent = '');
  const body = new URLSearchParams({ password: typed, own: field.dataset.own ?? ownWords(field.form) });
  const answer = await fetch('/password-strength', { method: 'POST', body }).catch(() => undefined);
  if (!answer?.ok || field.value !== typed) return;
  const { score, word, refused } = await answer.json();
  meter.value = score;
  said.textContent = refused ? `${word}. ${refused}` : word;
}
