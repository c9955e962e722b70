// Forms that ask before they are sent. This module runs once a page, however many others import it.
document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
