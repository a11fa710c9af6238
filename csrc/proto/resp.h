/* RESP2, the wire format of Redis: commands out, replies in. Bytes only; no sockets here.
 *
 * Replies are parsed by hiredis' reader, whose hooks are pointed at us: no reply object is ever built, each part is handed
 * on as it is recognised. Commands are appended straight to our buffer; hiredis' formatter would allocate and copy each of
 * them. */
#ifndef ZBZ_PROTO_RESP_H
#define ZBZ_PROTO_RESP_H

#include "zbz/bytes.h"

/* ---- commands ------------------------------------------------------------------------------------------------------- */

zbz_status zbz_resp_begin(zbz_buf *out, size_t words, zbz_err *err);
zbz_status zbz_resp_word(zbz_buf *out, zbz_bytes word, zbz_err *err);
/* One command. The words of `spec` are apart by one space and taken as they are, but for %b (a zbz_bytes argument) and %l
 * (an int64_t). */
zbz_status zbz_resp_command(zbz_buf *out, zbz_err *err, const char *spec, ...);

/* ---- replies -------------------------------------------------------------------------------------------------------- */

typedef enum zbz_resp_type {
	ZBZ_RESP_STATUS,
	ZBZ_RESP_BULK,
	ZBZ_RESP_INTEGER,
	ZBZ_RESP_NIL,
	ZBZ_RESP_ARRAY,
	ZBZ_RESP_ERROR
} zbz_resp_type;

/* One part of a reply: a value, or the head of an array whose parts follow with depth + 1 and index 0, 1, ... */
typedef struct zbz_resp_item {
	zbz_resp_type type;
	unsigned depth;  /* 0: the reply itself */
	size_t index;    /* place in the array around it */
	zbz_bytes bytes; /* STATUS, BULK, ERROR; valid for the call */
	int64_t integer; /* INTEGER; ARRAY: number of parts */
} zbz_resp_item;

/* Not OK stops the parse; the stream is then of no use any more. */
typedef zbz_status (*zbz_resp_fn)(void *ud, const zbz_resp_item *item, zbz_err *err);

typedef struct zbz_resp zbz_resp;
zbz_resp *zbz_resp_new(size_t max_reply); /* NULL when out of memory; max_reply: bytes one unfinished reply may take */
void zbz_resp_free(zbz_resp *resp);       /* NULL allowed */
zbz_status zbz_resp_feed(zbz_resp *resp, const void *p, size_t n, zbz_err *err);
/* Parses on: OK when a reply has ended, AGAIN when bytes are wanted, E_UNAVAILABLE when they are no RESP, or what fn returned. */
zbz_status zbz_resp_next(zbz_resp *resp, zbz_resp_fn fn, void *ud, zbz_err *err);
size_t zbz_resp_held(const zbz_resp *resp); /* bytes fed and not yet consumed */

/* ---- as MessagePack ------------------------------------------------------------------------------------------------- */

/* A zbz_resp_fn whose ud is a zbz_buf: status and bulk -> str (any bytes), integer -> int, nil -> nil, array -> array,
 * error -> zbz_pack_error as E_UNAVAILABLE. */
zbz_status zbz_resp_to_msgpack(void *ud, const zbz_resp_item *item, zbz_err *err);

#endif
