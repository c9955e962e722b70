"""Ways to log in beside a password, and the second factor.

`identities` has the accounts of a sign-in service (OpenID Connect, whose protocol is in `oidc`),
`proxy` what a trusted proxy tells, `groups` the roles that both give. `codes` has the codes of
authenticator apps, and recovery codes; `passkeys` has passkeys; `steps` the log-ins that wait for
one of them. Plain synchronous functions, like those of `accounts`: call them with a database
connection open.
"""
