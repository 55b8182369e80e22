// Says beside a new password how hard it is to guess. The server estimates it; nothing is kept.
for (const field of document.querySelectorAll('[data-strength]')) {
  const said = document.getElementById(field.dataset.strength);
  const meter = document.createElement('meter');
  Object.assign(meter, { min: 0, max: 4, low: 2, high: 3, optimum: 4, value: 0, hidden: true });
  meter.setAttribute('aria-hidden', 'true');
  field.after(meter);
  let waits;
  field.addEventListener('input', () => {
    clearTimeout(waits);
    waits = setTimeout(() => estimate(field, meter, said), 250);
  });
}

async function estimate(field, meter, said) {
  const typed = field.value;
  meter.hidden = typed === '';
  if (typed === '') return void (said.textContent = '');
  const body = new URLSearchParams({ password: typed, own: field.dataset.own ?? '' });
  const answer = await fetch('/password-strength', { method: 'POST', body }).catch(() => undefined);
  if (!answer?.ok || field.value !== typed) return;
  const { score, word, refused } = await answer.json();
  meter.value = score;
  said.textContent = refused ? `${word}. ${refused}` : word;
}
