// Small helps for forms; every form works without them.
// Show button of password fields, focus on the error summary, copy buttons, one submit a form.
for (const button of document.querySelectorAll('[data-show]')) {
  const field = document.getElementById(button.dataset.show);
  button.hidden = false;
  button.addEventListener('click', () => {
    const shown = field.type === 'text';
    field.type = shown ? 'password' : 'text';
    button.setAttribute('aria-pressed', String(!shown));
  });
  // A password shown on the screen is not kept by the browser as a text that was typed.
  field.form?.addEventListener('submit', () => {
    field.type = 'password';
  });
}

const summary = document.querySelector('[data-focus]');
if (summary) {
  summary.focus();
  document.title = 'Error: ' + document.title;
}

// The clipboard is only there on https and on this machine; the text can be selected everywhere.
for (const button of navigator.clipboard ? document.querySelectorAll('[data-copy]') : []) {
  const label = button.querySelector('span');
  label?.setAttribute('role', 'status');
  button.hidden = false;
  button.addEventListener('click', async () => {
    const text = document.getElementById(button.dataset.copy).innerText.trim();
    try {
      await navigator.clipboard.writeText(text);
      label?.replaceChildren('Copied');
    } catch {
      label?.replaceChildren('Select and copy it');
    }
  });
}

document.addEventListener('submit', (event) => {
  const form = event.target;
  if (form.method !== 'post') return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = 'yes';
});
addEventListener('pageshow', () => {
  for (const form of document.querySelectorAll('form[data-sent]')) delete form.dataset.sent;
});
