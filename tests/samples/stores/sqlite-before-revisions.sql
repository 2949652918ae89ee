-- A store as the last release left it whose SQLite files kept no revision of their tables.
PRAGMA user_version = 4;
BEGIN TRANSACTION;
CREATE TABLE amendments (
	conversation_id VARCHAR(255) NOT NULL, 
	target VARCHAR(255) NOT NULL, 
	version INTEGER NOT NULL, 
	PRIMARY KEY (conversation_id, target, version)
);
CREATE TABLE commits (
	conversation_id VARCHAR(255) NOT NULL, 
	version INTEGER NOT NULL, 
	epoch BIGINT NOT NULL, 
	at BIGINT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (conversation_id, version)
);
INSERT INTO "commits" VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaa',1,0,1767268801000,'{"conversation_id":"aaaaaaaaaaaaaaaaaaaaaaaaaa","version":1,"epoch":0,"at":"2026-01-01T12:00:01Z","inputs":["input-1"],"events":[{"session_id":"aaaaaaaaaaaaaaaaaaaaaaaaaa.1","sequence":1,"at":"2026-01-01T12:00:00Z","cause":"begin-1","actor":null,"platform":null,"identity":null,"kind":"session_started","reason":"message","address":{"platform":"telegram","account":"default","chat":"chat","thread":null,"user":"user"},"data":{},"metadata":{},"profile":{"owner":null,"agent_id":null,"session_type":"private","parent_id":null,"ai_model":null,"template":null,"tags":[],"visibility":"private","shares":{},"expires_at":null,"lifetime":null,"idle_timeout":null,"max_history":null},"previous":null,"stamp":null}]}');
CREATE TABLE epochs (
	"group" VARCHAR(255) NOT NULL, 
	partition INTEGER NOT NULL, 
	epoch BIGINT NOT NULL, 
	PRIMARY KEY ("group", partition)
);
INSERT INTO "epochs" VALUES('group',3,1);
CREATE TABLE heads (
	session_id VARCHAR(255) NOT NULL, 
	conversation_id VARCHAR(255) NOT NULL, 
	generation INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	status VARCHAR(32) NOT NULL, 
	platform VARCHAR(32), 
	account VARCHAR(255), 
	chat VARCHAR(255), 
	user VARCHAR(255), 
	owner VARCHAR(255), 
	agent_id VARCHAR(255), 
	parent_id VARCHAR(255), 
	tags TEXT, 
	identity VARCHAR(255), 
	conflicts BOOLEAN NOT NULL, 
	due_at BIGINT, 
	listed_at BIGINT NOT NULL, 
	message_count INTEGER NOT NULL, 
	lasted_ms BIGINT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (session_id)
);
INSERT INTO "heads" VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaa.1','aaaaaaaaaaaaaaaaaaaaaaaaaa',1,1,'active','telegram','default','chat','user',NULL,NULL,NULL,NULL,NULL,0,NULL,1767268800000,0,0,'{"conversation_id":"aaaaaaaaaaaaaaaaaaaaaaaaaa","generation":1,"version":1,"epoch":0,"sequence":0,"first_version":1,"status":"active","address":{"platform":"telegram","account":"default","chat":"chat","thread":null,"user":"user"},"data":{},"metadata":{},"profile":{"owner":null,"agent_id":null,"session_type":"private","parent_id":null,"ai_model":null,"template":null,"tags":[],"visibility":"private","shares":{},"expires_at":null,"lifetime":null,"idle_timeout":null,"max_history":null},"message_count":0,"shown_from":0,"fence":0,"created_at":"2026-01-01T12:00:00Z","last_activity":"2026-01-01T12:00:00Z","identity":null,"unlinked":false,"stamps":{},"clock":null,"conflicts":[],"turned_down":[],"expiry":null,"last_step":null,"archive":null,"restored":false,"erased":false,"blocked_by":null,"waiting":[],"recent_inputs":[]}');
CREATE TABLE inputs (
	conversation_id VARCHAR(255) NOT NULL, 
	input_id VARCHAR(255) NOT NULL, 
	version INTEGER NOT NULL, 
	PRIMARY KEY (conversation_id, input_id)
);
INSERT INTO "inputs" VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaa','input-1',1);
CREATE TABLE locks (
	name VARCHAR(255) NOT NULL, 
	token BIGINT NOT NULL, 
	expires_at BIGINT, 
	PRIMARY KEY (name)
);
CREATE TABLE members (
	"group" VARCHAR(255) NOT NULL, 
	worker_id VARCHAR(255) NOT NULL, 
	seen_at BIGINT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY ("group", worker_id)
);
CREATE TABLE parked (
	parked_id VARCHAR(255) NOT NULL, 
	conversation_id VARCHAR(255), 
	status VARCHAR(32) NOT NULL, 
	attempts INTEGER NOT NULL, 
	parked_at BIGINT NOT NULL, 
	details TEXT NOT NULL, 
	body BLOB NOT NULL, 
	PRIMARY KEY (parked_id)
);
INSERT INTO "parked" VALUES('4326951de93aa412390afbff85c6740b',NULL,'parked',1,1767268800000,'{"message_id":"one","queue":"agentbus.inbound.0","code":"undecodable","reason":"it is bad","stack":"","parked_at":"2026-01-01T12:00:00Z","position":0,"size":0}',X'00626F6479');
CREATE TABLE records (
	kind VARCHAR(32) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	"group" VARCHAR(255) NOT NULL, 
	created_at BIGINT NOT NULL, 
	revision BIGINT NOT NULL, 
	due_at BIGINT, 
	body TEXT NOT NULL, 
	PRIMARY KEY (kind, "key")
);
CREATE TABLE trials (
	"key" VARCHAR(255) NOT NULL, 
	count INTEGER NOT NULL, 
	PRIMARY KEY ("key")
);
CREATE INDEX ix_heads_chat ON heads (chat);
CREATE INDEX heads_by_owner ON heads (owner, listed_at DESC, session_id);
CREATE INDEX heads_by_conflict ON heads (listed_at DESC, session_id) WHERE conflicts IS 1;
CREATE INDEX heads_by_parent ON heads (parent_id, listed_at DESC, session_id);
CREATE INDEX heads_by_due ON heads (due_at, session_id);
CREATE INDEX ix_heads_user ON heads (user);
CREATE INDEX heads_by_agent ON heads (agent_id, listed_at DESC, session_id);
CREATE INDEX heads_by_activity ON heads (listed_at DESC, session_id);
CREATE INDEX heads_by_identity ON heads (identity, listed_at DESC, session_id) WHERE identity IS NOT NULL;
CREATE INDEX heads_by_conversation ON heads (conversation_id, generation);
CREATE INDEX parked_by_time ON parked (parked_at DESC, parked_id);
CREATE INDEX parked_by_conversation ON parked (conversation_id, parked_at DESC, parked_id);
CREATE INDEX records_by_group ON records (kind, "group", created_at DESC, "key");
CREATE INDEX records_by_due ON records (kind, due_at, "key", "group") WHERE due_at IS NOT NULL;
COMMIT;
