// Says that scripts run, before anything is shown: what is only for them must not come later and push the rest aside.
document.documentElement.classList.add("js");
