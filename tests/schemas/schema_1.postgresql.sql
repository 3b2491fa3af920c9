SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.banned_images (
    image text NOT NULL,
    clouds text NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE public.cloud_aliases (
    alias text NOT NULL,
    clouds text NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE public.clouds (
    name text NOT NULL,
    cloud_type text NOT NULL,
    network_address text NOT NULL,
    vm_slots bigint NOT NULL,
    memory_mb bigint NOT NULL,
    storage_gb bigint NOT NULL,
    cpu_cores bigint NOT NULL,
    max_vm_mem bigint NOT NULL,
    network_pools text NOT NULL,
    priority bigint NOT NULL,
    keep_alive bigint NOT NULL,
    boot_timeout bigint NOT NULL,
    connection_fail_disable_time bigint NOT NULL,
    tenant text,
    options text NOT NULL,
    "position" bigint NOT NULL,
    enabled boolean NOT NULL,
    unusable text,
    removed boolean NOT NULL,
    connection_problem boolean NOT NULL,
    errorconnect double precision,
    failed_images text NOT NULL,
    stale boolean NOT NULL,
    last_error text NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE public.departed (
    uid text NOT NULL,
    cloud text NOT NULL,
    departed_at bigint NOT NULL
);
CREATE TABLE public.heartbeats (
    name text NOT NULL,
    interval_seconds bigint NOT NULL,
    beat_at double precision NOT NULL
);
CREATE TABLE public.history (
    minute bigint NOT NULL,
    counts text NOT NULL
);
CREATE TABLE public.jobs (
    id text NOT NULL,
    shape text NOT NULL,
    cluster_id bigint NOT NULL,
    proc_id bigint NOT NULL,
    priority bigint NOT NULL,
    job_status bigint NOT NULL,
    status text NOT NULL,
    override_status text,
    blocked_clouds text NOT NULL,
    block_time bigint,
    banned boolean NOT NULL,
    ban_time double precision,
    remote_host text,
    running_cloud text NOT NULL,
    servertime bigint NOT NULL,
    jobstarttime bigint NOT NULL,
    machine_reserved text NOT NULL,
    spool_dir text,
    x509userproxy text,
    x509userproxysubject text,
    original_x509userproxy text,
    proxy_renew_time text NOT NULL,
    myproxy_server text,
    myproxy_server_port text,
    myproxy_creds_name text,
    x509userproxy_expiry_time text,
    failed_boot_reason text NOT NULL,
    problem text NOT NULL,
    hold_reason text NOT NULL,
    exit_code bigint,
    submitted_at bigint NOT NULL,
    finished_at bigint,
    revision bigint NOT NULL
);
CREATE TABLE public.machines (
    name text NOT NULL,
    machine_name text NOT NULL,
    vm text NOT NULL,
    job_id text NOT NULL,
    global_job_id text NOT NULL,
    address_startd text NOT NULL,
    address_master text NOT NULL,
    state text NOT NULL,
    activity text NOT NULL,
    vmtype text NOT NULL,
    "current_time" bigint NOT NULL,
    entered_state_time bigint NOT NULL,
    start_req text NOT NULL,
    remote_owner text NOT NULL,
    slot_type text NOT NULL,
    total_slots bigint NOT NULL,
    retiring boolean NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE public.operations (
    id bigint NOT NULL,
    verb text NOT NULL,
    actor text NOT NULL,
    request_id text NOT NULL,
    reason text NOT NULL,
    made_at bigint NOT NULL
);
CREATE TABLE public.outcomes (
    wish bigint NOT NULL,
    state text NOT NULL,
    detail text NOT NULL,
    settled_at bigint NOT NULL
);
CREATE TABLE public.polls (
    name text NOT NULL,
    interval_seconds double precision NOT NULL,
    ok_at double precision,
    failed_at double precision,
    seconds double precision NOT NULL,
    error text NOT NULL
);
CREATE TABLE public.queue_counters (
    id bigint NOT NULL,
    cluster bigint NOT NULL,
    change bigint NOT NULL
);
CREATE SEQUENCE public.queue_counters_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.queue_counters_id_seq OWNED BY public.queue_counters.id;
CREATE TABLE public.queue_gone (
    id text NOT NULL,
    change bigint NOT NULL
);
CREATE TABLE public.queue_jobs (
    seq bigint NOT NULL,
    id text NOT NULL,
    cluster_id bigint NOT NULL,
    proc_id bigint NOT NULL,
    shape text NOT NULL,
    priority bigint NOT NULL,
    job_status bigint NOT NULL,
    spec text NOT NULL,
    hold_reason text NOT NULL,
    exit_code bigint,
    submitted_at bigint NOT NULL,
    started_at bigint,
    finished_at bigint,
    vm text,
    slot bigint,
    attempt bigint NOT NULL,
    change bigint NOT NULL
);
CREATE TABLE public.queue_orders (
    token text NOT NULL,
    answer text NOT NULL,
    made_at bigint NOT NULL
);
CREATE TABLE public.queue_shapes (
    key text NOT NULL,
    shape text NOT NULL
);
CREATE TABLE public.settings (
    name text NOT NULL,
    value text NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE public.shapes (
    key text NOT NULL,
    shape text NOT NULL,
    reasons text NOT NULL,
    blocks text NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE public.state (
    id bigint NOT NULL,
    schema_version bigint NOT NULL,
    index bigint NOT NULL,
    clouds bigint NOT NULL,
    vms bigint NOT NULL,
    jobs bigint NOT NULL,
    shapes bigint NOT NULL,
    machines bigint NOT NULL,
    limits bigint NOT NULL,
    wishes bigint NOT NULL,
    outcomes bigint NOT NULL,
    verbs bigint NOT NULL,
    oldest bigint NOT NULL,
    engine_epoch bigint NOT NULL
);
CREATE SEQUENCE public.state_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.state_id_seq OWNED BY public.state.id;
CREATE TABLE public.tallies (
    key text NOT NULL,
    value double precision NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE public.tombstones (
    topic text NOT NULL,
    key text NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE public.user_limits (
    "user" text NOT NULL,
    vms bigint NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE public.vms (
    uid text NOT NULL,
    cloud text NOT NULL,
    id text NOT NULL,
    name text NOT NULL,
    spot_id text NOT NULL,
    vmtype text NOT NULL,
    "user" text NOT NULL,
    hostname text NOT NULL,
    alt_hostname text,
    ipaddress text NOT NULL,
    ssh_port bigint NOT NULL,
    status text NOT NULL,
    override_status text,
    cloudtype text NOT NULL,
    clusteraddr text NOT NULL,
    clusterport text NOT NULL,
    network text,
    image text NOT NULL,
    flavor text NOT NULL,
    memory bigint NOT NULL,
    cpucores bigint NOT NULL,
    storage bigint NOT NULL,
    keep_alive bigint NOT NULL,
    job_per_core boolean NOT NULL,
    initialize_time bigint NOT NULL,
    last_state_change bigint,
    startup_time bigint,
    lastpoll bigint,
    idle_start bigint,
    errorcount bigint NOT NULL,
    errorconnect double precision,
    condorname text,
    condoraddr text,
    condormasteraddr text,
    proxy_file text,
    myproxy_creds_name text,
    myproxy_server text,
    myproxy_server_port text,
    myproxy_renew_time text NOT NULL,
    x509userproxy_expiry_time text NOT NULL,
    force_retire boolean NOT NULL,
    failed_retire boolean NOT NULL,
    job_run_times text NOT NULL,
    "position" bigint NOT NULL,
    shape text NOT NULL,
    retired boolean NOT NULL,
    released boolean NOT NULL,
    destroying boolean NOT NULL,
    reason text NOT NULL,
    requested_until bigint,
    revision bigint NOT NULL
);
CREATE TABLE public.wishes (
    id bigint NOT NULL,
    operation bigint NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    aspect text NOT NULL,
    value text NOT NULL,
    made_at bigint NOT NULL,
    reason text NOT NULL,
    superseded_by bigint
);
ALTER TABLE ONLY public.queue_counters ALTER COLUMN id SET DEFAULT nextval('public.queue_counters_id_seq'::regclass);
ALTER TABLE ONLY public.state ALTER COLUMN id SET DEFAULT nextval('public.state_id_seq'::regclass);
INSERT INTO public.banned_images VALUES ('bad', '["c"]', 2);
INSERT INTO public.cloud_aliases VALUES ('west', '["mouse","cheetah"]', 2);
INSERT INTO public.cloud_aliases VALUES ('east', '["test/name?x#y"]', 2);
INSERT INTO public.clouds VALUES ('mouse', 'OpenStackNative', 'https://mouse.example.org:5000/v3', 10, 65536, 1000, 64, 32768, '["private","public"]', 1, 1800, 1800, 7200, 'heprc', '{"auth_url":"https://mouse.example.org:5000/v3","boot_timeout":"1800","cloud_type":"OpenStackNative","cpu_cores":"64","key_name":"cskey","max_vm_mem":"32768","memory":"65536","networks":"private, public","priority":"1","regions":"RegionOne","security_group":"default, condor","storage":"1000","tenant_name":"heprc","vm_keep_alive":"30","vm_slots":"10"}', 0, true, NULL, false, false, NULL, '["atlas-worker-5.10"]', false, '', 2);
INSERT INTO public.clouds VALUES ('cheetah', 'AmazonEC2', 'ec2.us-east-1.a-rather-long-name.example.com', 20, 204800, 2000, 40, -1, '["public"]', 0, 0, -1, 7200, NULL, '{"cloud_type":"AmazonEC2","cpu_cores":"40","host":"ec2.us-east-1.a-rather-long-name.example.com","key_name":"cskey","memory":"204800","networks":"public","regions":"us-east-1","security_group":"default","storage":"2000","vm_slots":"20"}', 1, false, NULL, false, true, 1480000600, '["ami-dead0001","ami-dead0002"]', false, '', 2);
INSERT INTO public.clouds VALUES ('test/name?x#y', 'OpenStack', 'nova.example.net', 4, 4096, 50, 40, -1, '["public"]', -2, 0, -1, 7200, NULL, '{"cloud_type":"OpenStack","cpu_cores":"40","host":"nova.example.net","key_name":"cskey","memory":"4096","networks":"public","priority":"-2","regions":"us-east-1","security_group":"default","storage":"50","vm_slots":"4"}', 2, true, NULL, false, false, NULL, '[]', false, '', 2);
INSERT INTO public.departed VALUES ('gone', 'mouse', 100);
INSERT INTO public.heartbeats VALUES ('Scheduler', 5, 1480000997);
INSERT INTO public.heartbeats VALUES ('Cleanup', 5, 1480000996);
INSERT INTO public.heartbeats VALUES ('VMPoller', 5, 1480000935);
INSERT INTO public.heartbeats VALUES ('JobPoller', 5, 1480001000);
INSERT INTO public.heartbeats VALUES ('MachinePoller', 5, 1479999195);
INSERT INTO public.history VALUES (1000, '{"idle_cores":0.5,"vms":3}');
INSERT INTO public.jobs VALUES ('job-1', 'b825ad29674f5b045e79dfae', 1, 0, 5, 0, 'Unscheduled', NULL, '[]', NULL, false, NULL, NULL, '', 0, 0, '', NULL, NULL, NULL, NULL, '12', NULL, NULL, NULL, NULL, '[]', '', '', NULL, 0, NULL, 2);
INSERT INTO public.jobs VALUES ('job-2', '869de1e6be17c33e0cc81ebe', 2, 0, 10, 1, 'Unscheduled', NULL, '[]', NULL, false, NULL, NULL, '', 0, 0, '', NULL, NULL, NULL, NULL, '12', NULL, NULL, NULL, NULL, '["No fitting resources: memory"]', '', '', NULL, 0, NULL, 2);
INSERT INTO public.jobs VALUES ('job-3', 'edc466fb08d8ebb2796882e4', 3, 0, 1, 2, 'Scheduled', NULL, '[]', NULL, false, NULL, 'slot1@mouse--3f8a-0001.example.org', 'mouse', 1480000900, 1480000200, '', '/var/spool/condor/3', 'x509up_u1001', '/C=CA/O=Grid/CN=Alice', '/home/alice/x509up_u1001', '12', 'myproxy.example.org', '7512', 'alice-cred', NULL, '[]', '', '', NULL, 0, NULL, 2);
INSERT INTO public.jobs VALUES ('job-4', 'ae23e344cb03057ffd75de8e', 4, 0, 1, 2, 'Scheduled', NULL, '[]', NULL, false, NULL, 'mouse--3f8a-0003.example.org', 'mouse', 1480000900, 1479999500, '', NULL, NULL, NULL, NULL, '12', NULL, NULL, NULL, NULL, '[]', '', '', NULL, 0, NULL, 2);
INSERT INTO public.jobs VALUES ('job-5', 'ae23e344cb03057ffd75de8e', 5, 0, 1, 1, 'Scheduled', NULL, '[]', NULL, false, NULL, NULL, '', 0, 0, '', NULL, NULL, NULL, NULL, '12', NULL, NULL, NULL, NULL, '[]', '', '', NULL, 0, NULL, 2);
INSERT INTO public.jobs VALUES ('job-6', 'ae23e344cb03057ffd75de8e', 6, 0, 1, 5, 'Unscheduled', 'BadRequirements', '[]', NULL, true, 1480000300, NULL, '', 0, 0, '', NULL, NULL, NULL, NULL, '12', NULL, NULL, NULL, NULL, '["Image not found on mouse"]', '', '', NULL, 0, NULL, 2);
INSERT INTO public.jobs VALUES ('job-7', 'cf64bebec752c072372f490e', 7, 0, 20, 1, 'Unscheduled', NULL, '[]', NULL, false, NULL, NULL, '', 0, 0, '', NULL, NULL, NULL, NULL, '12', NULL, NULL, NULL, NULL, '[]', '', '', NULL, 0, NULL, 2);
INSERT INTO public.jobs VALUES ('job-8', 'cc82d5eaa8e595ee69fda4a7', 8, 0, 1, 2, 'Scheduled', NULL, '[]', NULL, false, NULL, 'ip-10-0-0-7', 'cheetah', 0, 0, '', NULL, NULL, NULL, NULL, '12', NULL, NULL, NULL, NULL, '[]', '', '', NULL, 0, NULL, 2);
INSERT INTO public.jobs VALUES ('job-9', '98b236d375e3cad9c11a7de4', 9, 0, 1, 4, 'Scheduled', NULL, '[]', NULL, false, NULL, NULL, 'a-cloud-with-a-very-long-name', 0, 0, '', NULL, NULL, NULL, NULL, '12', NULL, NULL, NULL, NULL, '[]', '', '', NULL, 0, NULL, 2);
INSERT INTO public.jobs VALUES ('condor.heprc.example.org#10.0#1480000010', '54d1700fc3aaabca929dca65', 10, 0, 1, 0, 'Unscheduled', NULL, '["cheetah"]', 1480000010, false, NULL, NULL, '', 0, 0, '', NULL, NULL, NULL, NULL, '12', NULL, NULL, NULL, NULL, '[]', '', '', NULL, 0, NULL, 2);
INSERT INTO public.jobs VALUES ('condor.heprc.example.org#11.0#1480000011', 'a2197caef81fde4e0538b4c7', 11, 0, 1, 5, 'Unscheduled', NULL, '[]', NULL, false, NULL, NULL, '', 0, 0, '', NULL, NULL, NULL, NULL, '12', NULL, NULL, NULL, NULL, '[]', '', '', NULL, 0, NULL, 2);
INSERT INTO public.jobs VALUES ('condor.heprc.example.org#12.0#1480000012', '0032a826dbd145d18c9d3d1c', 12, 3, 1, 2, 'Scheduled', NULL, '[]', NULL, false, NULL, NULL, 'test/name?x#y', 0, 0, 'slot1@host-8.example.net', NULL, NULL, NULL, NULL, '12', NULL, NULL, NULL, NULL, '[]', '', '', NULL, 0, NULL, 2);
INSERT INTO public.jobs VALUES ('a#1.0#1', 'a3c2df39a2f2f7fdc0b1fe82', 0, 0, 0, 0, 'Unscheduled', NULL, '[]', NULL, false, NULL, NULL, '', 0, 0, '', NULL, NULL, NULL, NULL, '12', NULL, NULL, NULL, NULL, '["quota"]', '', '', 3, 0, NULL, 2);
INSERT INTO public.machines VALUES ('slot1@lost-1.example.org', 'lost-1.example.org', '', '', '', '<192.0.2.77:40001>', '', 'Unclaimed', 'Idle', '', 0, 0, '', '', '', 1, false, 2);
INSERT INTO public.machines VALUES ('slot1@x', 'x', '', '', '', '', '', 'Unclaimed', 'Idle', '', 0, 0, '', '', '', 1, true, 2);
INSERT INTO public.operations VALUES (1, 'submit', 'root', 'request-1', 'because', 100);
INSERT INTO public.operations VALUES (2, 'submit', 'root', 'request-1', 'because', 100);
INSERT INTO public.operations VALUES (3, 'disable', 'root', 'request-1', 'because', 100);
INSERT INTO public.operations VALUES (4, 'enable', 'root', 'request-1', 'because', 100);
INSERT INTO public.operations VALUES (5, 'allocations', 'root', 'request-1', 'because', 100);
INSERT INTO public.operations VALUES (6, 'retire', 'root', 'request-1', 'because', 100);
INSERT INTO public.outcomes VALUES (6, 'failed', '{"error":"no"}', 1795314545);
INSERT INTO public.outcomes VALUES (2, 'done', '{"cluster":4}', 1795314545);
INSERT INTO public.polls VALUES ('VMPoller:ü', 5, 99.5, 100, 0.25, 'no answer');
INSERT INTO public.queue_counters VALUES (1, 4, 7);
INSERT INTO public.queue_jobs VALUES (2, 'vm#1.1#100', 1, 1, 'a3c2df39a2f2f7fdc0b1fe82', 2, 1, '{"arguments":["1","ü"],"environment":{"PASSWORD":"hunter2"},"executable":"/bin/run"}', '', NULL, 100, NULL, NULL, NULL, NULL, 0, 1);
INSERT INTO public.queue_jobs VALUES (3, 'vm#2.0#101', 2, 0, 'a3c2df39a2f2f7fdc0b1fe82', 1, 1, '{"arguments":["2","ü"],"environment":{},"executable":"/bin/run"}', '', NULL, 101, NULL, NULL, NULL, NULL, 0, 2);
INSERT INTO public.queue_jobs VALUES (4, 'vm#3.0#102', 3, 0, 'a3c2df39a2f2f7fdc0b1fe82', 2, 5, '{"arguments":["3","ü"],"environment":{"PASSWORD":"hunter2"},"executable":"/bin/run"}', 'held', NULL, 102, NULL, NULL, NULL, NULL, 0, 3);
INSERT INTO public.queue_jobs VALUES (1, 'vm#1.0#100', 1, 0, 'a3c2df39a2f2f7fdc0b1fe82', 2, 2, '{"arguments":["1","ü"],"environment":{"PASSWORD":"hunter2"},"executable":"/bin/run"}', '', NULL, 100, 103, NULL, 'vm1', 1, 1, 4);
INSERT INTO public.queue_jobs VALUES (5, 'vm#4.0#104', 4, 0, 'a3c2df39a2f2f7fdc0b1fe82', 9, 4, '{"arguments":["4","ü"],"environment":{"PASSWORD":"hunter2"},"executable":"/bin/run"}', '', 0, 104, 105, 106, NULL, NULL, 1, 7);
INSERT INTO public.queue_orders VALUES ('wish-1', '{"cluster":1,"jobs":2}', 100);
INSERT INTO public.queue_orders VALUES ('wish-2', '{"cluster":2,"jobs":1}', 101);
INSERT INTO public.queue_orders VALUES ('wish-3', '{"cluster":3,"jobs":1}', 102);
INSERT INTO public.queue_orders VALUES ('wish-4', '{"cluster":4,"jobs":1}', 104);
INSERT INTO public.queue_shapes VALUES ('a3c2df39a2f2f7fdc0b1fe82', '{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.5,"proxy_non_boot":false,"req_ami":{"c":"j","default":"i"},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"default","target_clouds":["a","b"],"user":"alice","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}');
INSERT INTO public.settings VALUES ('log_level', '"DEBUG"', 2);
INSERT INTO public.settings VALUES ('quick_exit', 'null', 2);
INSERT INTO public.shapes VALUES ('0032a826dbd145d18c9d3d1c', '{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":false,"req_ami":{"default":""},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"default","target_clouds":[],"user":"carol","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}', '[]', '{}', 2);
INSERT INTO public.shapes VALUES ('54d1700fc3aaabca929dca65', '{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":false,"req_ami":{"default":""},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"default","target_clouds":[],"user":"alice","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}', '[]', '{}', 2);
INSERT INTO public.shapes VALUES ('869de1e6be17c33e0cc81ebe', '{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":false,"req_ami":{"default":""},"req_cpucores":4,"req_image":"Default-Image","req_image_id":null,"req_memory":8192,"req_network":"","req_security_group":[""],"req_storage":80,"req_vmtype":"atlas-worker","target_clouds":[],"user":"alice","user_data":[],"usertype_limit":3,"vmimage_proxy_file":null}', '[]', '{}', 2);
INSERT INTO public.shapes VALUES ('98b236d375e3cad9c11a7de4', '{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":false,"req_ami":{"default":""},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"a-vmtype-with-a-very-long-name","target_clouds":[],"user":"a-user-with-a-very-long-name","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}', '[]', '{}', 2);
INSERT INTO public.shapes VALUES ('a2197caef81fde4e0538b4c7', '{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":true,"req_ami":{"default":""},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"belle2","target_clouds":[],"user":"bob","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":"/tmp/p"}', '[]', '{}', 2);
INSERT INTO public.shapes VALUES ('ae23e344cb03057ffd75de8e', '{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":false,"req_ami":{"default":""},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"belle2","target_clouds":[],"user":"bob","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}', '[]', '{}', 2);
INSERT INTO public.shapes VALUES ('b825ad29674f5b045e79dfae', '{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":"m3.xlarge","mouse":"m1.large"},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":false,"req_ami":{"cheetah":"ami-1234abcd","mouse":"atlas-worker-5.11"},"req_cpucores":4,"req_image":"Default-Image","req_image_id":null,"req_memory":8192,"req_network":"private","req_security_group":[""],"req_storage":80,"req_vmtype":"atlas-worker","target_clouds":["mouse","west"],"user":"alice","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}', '[]', '{}', 2);
INSERT INTO public.shapes VALUES ('cc82d5eaa8e595ee69fda4a7', '{"ami_config":[],"high_priority":2,"inject_ca":true,"instance_type":{"default":""},"job_per_core":true,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":false,"req_ami":{"default":""},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"atlas-worker","target_clouds":[],"user":"carol","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}', '[]', '{}', 2);
INSERT INTO public.shapes VALUES ('cf64bebec752c072372f490e', '{"ami_config":[],"high_priority":1,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":"carolkey","location":"us-east-1a","maximum_price":0.25,"proxy_non_boot":false,"req_ami":{"default":""},"req_cpucores":1,"req_image":"Default-Image","req_image_id":"img-7","req_memory":512,"req_network":"","req_security_group":["default","condor"],"req_storage":0,"req_vmtype":"default","target_clouds":[],"user":"carol","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}', '[]', '{}', 2);
INSERT INTO public.shapes VALUES ('edc466fb08d8ebb2796882e4', '{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":3600,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":false,"req_ami":{"default":""},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"atlas-worker","target_clouds":[],"user":"alice","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}', '[]', '{}', 2);
INSERT INTO public.shapes VALUES ('a3c2df39a2f2f7fdc0b1fe82', '{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.5,"proxy_non_boot":false,"req_ami":{"c":"j","default":"i"},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"default","target_clouds":["a","b"],"user":"alice","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}', '["no cloud has room","said \"no\""]', '{"c":[9000,"image failed"]}', 2);
INSERT INTO public.state VALUES (1, 1, 9, 2, 2, 2, 2, 2, 2, 8, 9, 9, 1, 0);
INSERT INTO public.tallies VALUES ('["cloudsched_boots_total", "\u00fc"]', 3, 2);
INSERT INTO public.tallies VALUES ('["cloudsched_idle", "x"]', 0.5, 2);
INSERT INTO public.user_limits VALUES ('bob', 2, 2);
INSERT INTO public.user_limits VALUES ('carol', 50, 2);
INSERT INTO public.vms VALUES ('vm-mouse-1', 'mouse', 'a1b2c3d4-0000-4000-8000-000000000001', 'vm-mouse-1', '', 'atlas-worker', 'alice', 'mouse--3f8a-0001', NULL, '206.12.154.10', 22, 'Running', NULL, 'OpenStackNative', 'https://mouse.example.org:5000/v3', '', 'private', '{"default":"cernvm-4","mouse":"atlas-worker-5.11"}', 'm1.large', 8192, 4, 80, 3600, false, 1480000000, 1480000145, 145, 1480000900, NULL, 0, NULL, 'slot1@mouse--3f8a-0001.example.org', '<206.12.154.10:40001?noUDP>', '<206.12.154.10:40002?noUDP>', '/tmp/x509up_u1001', 'alice-cred', 'myproxy.example.org', '7512', '12', '2016-11-25 03:06:40', false, false, '[3600,4200,3905]', 0, '', false, false, false, '', NULL, 2);
INSERT INTO public.vms VALUES ('vm-mouse-2', 'mouse', 'a1b2c3d4-0000-4000-8000-000000000002', 'vm-mouse-2', '', 'atlas-worker', 'alice', 'mouse--3f8a-0002', NULL, '10.10.3.4', 22, 'Starting', NULL, 'OpenStackNative', 'https://mouse.example.org:5000/v3', '', 'private', '{"default":"cernvm-4","mouse":"atlas-worker-5.11"}', 'm1.large', 8192, 4, 80, 0, false, 1480000800, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '12', 'None', false, false, '[]', 1, '', false, false, false, '', NULL, 2);
INSERT INTO public.vms VALUES ('vm-mouse-3', 'mouse', 'a1b2c3d4-0000-4000-8000-000000000003', 'vm-mouse-3', '', 'belle2', 'bob', 'mouse--3f8a-0003', NULL, '172.20.1.5', 22, 'Running', 'Retiring', 'OpenStackNative', 'https://mouse.example.org:5000/v3', '', 'private', '{"default":"belle-2"}', 'm1.small', 2048, 1, 20, 0, false, 1479913600, 1479913801, 201, 1480000890, NULL, 1, NULL, 'mouse--3f8a-0003.example.org', '<172.20.1.5:40001>', '<172.20.1.5:40002>', NULL, NULL, NULL, NULL, '12', 'None', true, false, '[180,240,300,360,420,480,540,600,660,720]', 2, '', false, false, false, '', NULL, 2);
INSERT INTO public.vms VALUES ('vm-mouse-4', 'mouse', 'a1b2c3d4-0000-4000-8000-000000000004', 'vm-mouse-4', '', 'belle2', 'bob', 'mouse--3f8a-0004', NULL, '142.104.110.7', 22, 'Error', NULL, 'OpenStackNative', 'https://mouse.example.org:5000/v3', '', 'private', '{"default":"belle-2"}', 'm1.small', 2048, 1, 20, 0, false, 1479992800, NULL, NULL, NULL, NULL, 6, 1480000850, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '12', 'None', false, false, '[]', 3, '', false, false, false, '', NULL, 2);
INSERT INTO public.vms VALUES ('vm-mouse-5', 'mouse', 'testvm', 'vm-mouse-5', '', 'atlas-worker', 'dave-with-a-long-username', 'mouse--3f8a-0005', NULL, '198.51.100.25', 2222, 'Running', NULL, 'OpenStackNative', 'https://mouse.example.org:5000/v3', '', '', '{"default":"cernvm-4","mouse":"atlas-worker-5.11"}', 'm1.large', 4096, 2, 40, 0, true, 1480000100, NULL, 99, 1480000901, 1480000700, 0, NULL, 'slot1@mouse--3f8a-0005', '<198.51.100.25:40001>', '<198.51.100.25:40002>', NULL, NULL, NULL, NULL, '12', 'None', false, false, '[1]', 4, '', false, false, false, '', NULL, 2);
INSERT INTO public.vms VALUES ('vm-cheetah-1', 'cheetah', 'i-0a1b2c3d4e5f67890', 'vm-cheetah-1', 'sir-abcd1234', 'atlas-worker', 'carol', 'ec2-54-10-20-30.compute.example.com', NULL, '54.10.20.30', 22, 'Running', NULL, 'AmazonEC2', 'ec2.example.com', '', 'public', '"ami-1234abcd"', 'm3.xlarge', 15360, 4, 80, 0, false, 1480000050, NULL, 310, 1480000880, NULL, 0, NULL, 'ip-10-0-0-7', '<10.0.0.7:40666>', '<10.0.0.7:40666>', NULL, NULL, NULL, NULL, '12', 'None', false, false, '[]', 5, '', false, false, false, '', NULL, 2);
INSERT INTO public.vms VALUES ('vm-cheetah-2', 'cheetah', '', 'vm-cheetah-2', 'sir-00000002', 'default', 'carol', '', NULL, '', 22, 'Starting', NULL, 'AmazonEC2', 'ec2.example.com', '', 'public', '"ami-1234abcd"', 'm3.medium', 3840, 1, 10, 0, false, 1480000870, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '12', 'None', false, false, '[]', 6, '', false, false, false, '', NULL, 2);
INSERT INTO public.vms VALUES ('vm-test-1', 'test/name?x#y', 'vm/8.x?a#b', 'vm-test-1', '', 'default', 'alice', 'host-8.example.net', NULL, '203.0.113.8', 22, 'Running', 'ExpiredProxy', 'OpenStack', 'nova.example.net', '', 'public', '"ami-00000008"', 'm1.tiny', 512, 1, 5, 0, false, 1479996400, NULL, 55, NULL, NULL, 0, NULL, 'host-8.example.net', '<203.0.113.8:9618>', '<203.0.113.8:9619>', NULL, NULL, NULL, NULL, '12', 'None', false, true, '[]', 7, '', false, false, false, '', NULL, 2);
INSERT INTO public.vms VALUES ('odd/ü ''name''', 'mouse', '', 'Default-Image', '', 'default', '', '', NULL, '', 22, 'Starting', NULL, '', '', '', NULL, '{"c":["x"]}', '', 0, 1, 0, 0, false, 0, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '12', 'None', false, false, '[]', 0, '', false, false, false, '', NULL, 2);
INSERT INTO public.wishes VALUES (1, 1, 'jobs', 'alice', 'submit', '{"initialdir":"/home","owner":"alice","submit":"executable = /bin/run\nenvironment = SECRET=swordfish\nqueue\n"}', 100, 'because', NULL);
INSERT INTO public.wishes VALUES (2, 2, 'jobs', 'alice', 'submit', '{"initialdir":"/home","owner":"alice","submit":"executable = swordfish\nqueue\n"}', 100, 'because', NULL);
INSERT INTO public.wishes VALUES (4, 4, 'cloud', 'mouse', 'enabled', 'true', 100, 'because', NULL);
INSERT INTO public.wishes VALUES (3, 3, 'cloud', 'mouse', 'enabled', 'false', 100, 'because', 4);
INSERT INTO public.wishes VALUES (5, 5, 'cloud', 'mouse', 'vm_slots', '{"file":10,"slots":77}', 100, 'because', NULL);
INSERT INTO public.wishes VALUES (6, 6, 'vm', 'odd/ü ''name''', 'retire', '{"id":""}', 100, 'because', NULL);
INSERT INTO public.wishes VALUES (7, 6, 'vm', 'vm-mouse-1', 'retire', '{"id":"a1b2c3d4-0000-4000-8000-000000000001"}', 100, 'because', NULL);
INSERT INTO public.wishes VALUES (8, 6, 'vm', 'vm-mouse-2', 'retire', '{"id":"a1b2c3d4-0000-4000-8000-000000000002"}', 100, 'because', NULL);
INSERT INTO public.wishes VALUES (9, 6, 'vm', 'vm-mouse-3', 'retire', '{"id":"a1b2c3d4-0000-4000-8000-000000000003"}', 100, 'because', NULL);
INSERT INTO public.wishes VALUES (10, 6, 'vm', 'vm-mouse-4', 'retire', '{"id":"a1b2c3d4-0000-4000-8000-000000000004"}', 100, 'because', NULL);
INSERT INTO public.wishes VALUES (11, 6, 'vm', 'vm-mouse-5', 'retire', '{"id":"testvm"}', 100, 'because', NULL);
SELECT pg_catalog.setval('public.queue_counters_id_seq', 1, false);
SELECT pg_catalog.setval('public.state_id_seq', 1, false);
ALTER TABLE ONLY public.banned_images
    ADD CONSTRAINT banned_images_pkey PRIMARY KEY (image);
ALTER TABLE ONLY public.cloud_aliases
    ADD CONSTRAINT cloud_aliases_pkey PRIMARY KEY (alias);
ALTER TABLE ONLY public.clouds
    ADD CONSTRAINT clouds_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.departed
    ADD CONSTRAINT departed_pkey PRIMARY KEY (uid);
ALTER TABLE ONLY public.heartbeats
    ADD CONSTRAINT heartbeats_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.history
    ADD CONSTRAINT history_pkey PRIMARY KEY (minute);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.machines
    ADD CONSTRAINT machines_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.operations
    ADD CONSTRAINT operations_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.outcomes
    ADD CONSTRAINT outcomes_pkey PRIMARY KEY (wish);
ALTER TABLE ONLY public.polls
    ADD CONSTRAINT polls_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.queue_counters
    ADD CONSTRAINT queue_counters_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.queue_gone
    ADD CONSTRAINT queue_gone_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.queue_jobs
    ADD CONSTRAINT queue_jobs_id_key UNIQUE (id);
ALTER TABLE ONLY public.queue_jobs
    ADD CONSTRAINT queue_jobs_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.queue_orders
    ADD CONSTRAINT queue_orders_pkey PRIMARY KEY (token);
ALTER TABLE ONLY public.queue_shapes
    ADD CONSTRAINT queue_shapes_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.settings
    ADD CONSTRAINT settings_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.shapes
    ADD CONSTRAINT shapes_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.state
    ADD CONSTRAINT state_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tallies
    ADD CONSTRAINT tallies_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.tombstones
    ADD CONSTRAINT tombstones_pkey PRIMARY KEY (topic, key);
ALTER TABLE ONLY public.user_limits
    ADD CONSTRAINT user_limits_pkey PRIMARY KEY ("user");
ALTER TABLE ONLY public.vms
    ADD CONSTRAINT vms_pkey PRIMARY KEY (uid);
ALTER TABLE ONLY public.wishes
    ADD CONSTRAINT wishes_pkey PRIMARY KEY (id);
CREATE INDEX ix_banned_images_revision ON public.banned_images USING btree (revision);
CREATE INDEX ix_cloud_aliases_revision ON public.cloud_aliases USING btree (revision);
CREATE INDEX ix_clouds_revision ON public.clouds USING btree (revision);
CREATE INDEX ix_departed_cloud ON public.departed USING btree (cloud);
CREATE INDEX ix_jobs_revision ON public.jobs USING btree (revision);
CREATE INDEX ix_machines_revision ON public.machines USING btree (revision);
CREATE INDEX ix_queue_gone_change ON public.queue_gone USING btree (change);
CREATE INDEX ix_queue_jobs_change ON public.queue_jobs USING btree (change);
CREATE INDEX ix_queue_jobs_job_status ON public.queue_jobs USING btree (job_status);
CREATE INDEX ix_queue_jobs_shape ON public.queue_jobs USING btree (shape);
CREATE INDEX ix_settings_revision ON public.settings USING btree (revision);
CREATE INDEX ix_shapes_revision ON public.shapes USING btree (revision);
CREATE INDEX ix_tallies_revision ON public.tallies USING btree (revision);
CREATE INDEX ix_tombstones_revision ON public.tombstones USING btree (revision);
CREATE INDEX ix_user_limits_revision ON public.user_limits USING btree (revision);
CREATE INDEX ix_vms_cloud ON public.vms USING btree (cloud);
CREATE INDEX ix_vms_id ON public.vms USING btree (id);
CREATE INDEX ix_vms_position ON public.vms USING btree ("position");
CREATE INDEX ix_vms_revision ON public.vms USING btree (revision);
CREATE INDEX ix_wishes_operation ON public.wishes USING btree (operation);
CREATE INDEX jobs_group ON public.jobs USING btree (shape, priority, job_status, status, banned, blocked_clouds);
CREATE INDEX jobs_number ON public.jobs USING btree (cluster_id, proc_id);
CREATE INDEX queue_number ON public.queue_jobs USING btree (cluster_id, proc_id);
CREATE INDEX wishes_target ON public.wishes USING btree (kind, name, aspect);
