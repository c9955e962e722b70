"""Ways to log in beside a password, and the second factor, as pages (`app/sign_in` does the work).

`oidc` leads to a sign-in service and back, `proxy` reads what a trusted proxy tells,
`second_factor` and `passkeys` come after the password, and `methods` is the page on which somebody
chooses among all that.
"""
