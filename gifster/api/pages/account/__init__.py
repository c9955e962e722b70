"""The pages about accounts: one's own (`own`), what mails lead to (`mailed`), and the invitations
for admins (`invitations`)."""
