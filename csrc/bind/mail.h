/* The mailbox of a Lua state, as the files of the binding share it. */
#ifndef ZBZ_BIND_MAIL_H
#define ZBZ_BIND_MAIL_H

#include "object.h"

/* Made on first use; NULL and err on failure. */
zbz_mailbox *zbz_mail_box(zbz_bind *b, zbz_err *err);
/* NULL when there is none yet. */
zbz_mailbox *zbz_mail_peek(const zbz_bind *b);
/* Is it a parked call? Then it is noted as done (or dropped, when nobody asks), and *id is its number. */
bool zbz_park_drained(zbz_job *job, uint64_t *id);

#endif
