// Forms and buttons that ask before they send. This module runs once a page, however many others import it.
// A button whose value begins with "ask_" lets the server ask, unless this has asked already.
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  const question = button?.dataset.confirm ?? event.target.dataset.confirm;
  if (!question) return;
  if (!confirm(question)) event.preventDefault();
  else if (button) button.value = button.value.replace(/^ask_/, "");
});
