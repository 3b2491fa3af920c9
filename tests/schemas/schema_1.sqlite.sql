BEGIN TRANSACTION;
CREATE TABLE banned_images (
	image TEXT NOT NULL,
	clouds TEXT NOT NULL,
	revision INTEGER NOT NULL,
	PRIMARY KEY (image)
);
INSERT INTO "banned_images" VALUES('bad','["c"]',2);
CREATE TABLE cloud_aliases (
	alias TEXT NOT NULL,
	clouds TEXT NOT NULL,
	revision INTEGER NOT NULL,
	PRIMARY KEY (alias)
);
INSERT INTO "cloud_aliases" VALUES('west','["mouse","cheetah"]',2);
INSERT INTO "cloud_aliases" VALUES('east','["test/name?x#y"]',2);
CREATE TABLE clouds (
	name TEXT NOT NULL,
	cloud_type TEXT NOT NULL,
	network_address TEXT NOT NULL,
	vm_slots INTEGER NOT NULL,
	memory_mb INTEGER NOT NULL,
	storage_gb INTEGER NOT NULL,
	cpu_cores INTEGER NOT NULL,
	max_vm_mem INTEGER NOT NULL,
	network_pools TEXT NOT NULL,
	priority INTEGER NOT NULL,
	keep_alive INTEGER NOT NULL,
	boot_timeout INTEGER NOT NULL,
	connection_fail_disable_time INTEGER NOT NULL,
	tenant TEXT,
	options TEXT NOT NULL,
	position INTEGER NOT NULL,
	enabled BOOLEAN NOT NULL,
	unusable TEXT,
	removed BOOLEAN NOT NULL,
	connection_problem BOOLEAN NOT NULL,
	errorconnect FLOAT,
	failed_images TEXT NOT NULL,
	stale BOOLEAN NOT NULL,
	last_error TEXT NOT NULL,
	revision INTEGER NOT NULL,
	PRIMARY KEY (name)
);
INSERT INTO "clouds" VALUES('mouse','OpenStackNative','https://mouse.example.org:5000/v3',10,65536,1000,64,32768,'["private","public"]',1,1800,1800,7200,'heprc','{"auth_url":"https://mouse.example.org:5000/v3","boot_timeout":"1800","cloud_type":"OpenStackNative","cpu_cores":"64","key_name":"cskey","max_vm_mem":"32768","memory":"65536","networks":"private, public","priority":"1","regions":"RegionOne","security_group":"default, condor","storage":"1000","tenant_name":"heprc","vm_keep_alive":"30","vm_slots":"10"}',0,1,NULL,0,0,NULL,'["atlas-worker-5.10"]',0,'',2);
INSERT INTO "clouds" VALUES('cheetah','AmazonEC2','ec2.us-east-1.a-rather-long-name.example.com',20,204800,2000,40,-1,'["public"]',0,0,-1,7200,NULL,'{"cloud_type":"AmazonEC2","cpu_cores":"40","host":"ec2.us-east-1.a-rather-long-name.example.com","key_name":"cskey","memory":"204800","networks":"public","regions":"us-east-1","security_group":"default","storage":"2000","vm_slots":"20"}',1,0,NULL,0,1,1480000600.0,'["ami-dead0001","ami-dead0002"]',0,'',2);
INSERT INTO "clouds" VALUES('test/name?x#y','OpenStack','nova.example.net',4,4096,50,40,-1,'["public"]',-2,0,-1,7200,NULL,'{"cloud_type":"OpenStack","cpu_cores":"40","host":"nova.example.net","key_name":"cskey","memory":"4096","networks":"public","priority":"-2","regions":"us-east-1","security_group":"default","storage":"50","vm_slots":"4"}',2,1,NULL,0,0,NULL,'[]',0,'',2);
CREATE TABLE departed (
	uid TEXT NOT NULL,
	cloud TEXT NOT NULL,
	departed_at INTEGER NOT NULL,
	PRIMARY KEY (uid)
);
INSERT INTO "departed" VALUES('gone','mouse',100);
CREATE TABLE heartbeats (
	name TEXT NOT NULL,
	interval_seconds INTEGER NOT NULL,
	beat_at FLOAT NOT NULL,
	PRIMARY KEY (name)
);
INSERT INTO "heartbeats" VALUES('Scheduler',5,1480000997.0);
INSERT INTO "heartbeats" VALUES('Cleanup',5,1480000996.0);
INSERT INTO "heartbeats" VALUES('VMPoller',5,1480000935.0);
INSERT INTO "heartbeats" VALUES('JobPoller',5,1480001000.0);
INSERT INTO "heartbeats" VALUES('MachinePoller',5,1479999195.0);
CREATE TABLE history (
	minute INTEGER NOT NULL,
	counts TEXT NOT NULL,
	PRIMARY KEY (minute)
);
INSERT INTO "history" VALUES(1000,'{"idle_cores":0.5,"vms":3}');
CREATE TABLE jobs (
	id TEXT NOT NULL,
	shape TEXT NOT NULL,
	cluster_id INTEGER NOT NULL,
	proc_id INTEGER NOT NULL,
	priority INTEGER NOT NULL,
	job_status INTEGER NOT NULL,
	status TEXT NOT NULL,
	override_status TEXT,
	blocked_clouds TEXT NOT NULL,
	block_time INTEGER,
	banned BOOLEAN NOT NULL,
	ban_time FLOAT,
	remote_host TEXT,
	running_cloud TEXT NOT NULL,
	servertime INTEGER NOT NULL,
	jobstarttime INTEGER NOT NULL,
	machine_reserved TEXT NOT NULL,
	spool_dir TEXT,
	x509userproxy TEXT,
	x509userproxysubject TEXT,
	original_x509userproxy TEXT,
	proxy_renew_time TEXT NOT NULL,
	myproxy_server TEXT,
	myproxy_server_port TEXT,
	myproxy_creds_name TEXT,
	x509userproxy_expiry_time TEXT,
	failed_boot_reason TEXT NOT NULL,
	problem TEXT NOT NULL,
	hold_reason TEXT NOT NULL,
	exit_code INTEGER,
	submitted_at INTEGER NOT NULL,
	finished_at INTEGER,
	revision INTEGER NOT NULL,
	PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES('job-1','b825ad29674f5b045e79dfae',1,0,5,0,'Unscheduled',NULL,'[]',NULL,0,NULL,NULL,'',0,0,'',NULL,NULL,NULL,NULL,'12',NULL,NULL,NULL,NULL,'[]','','',NULL,0,NULL,2);
INSERT INTO "jobs" VALUES('job-2','869de1e6be17c33e0cc81ebe',2,0,10,1,'Unscheduled',NULL,'[]',NULL,0,NULL,NULL,'',0,0,'',NULL,NULL,NULL,NULL,'12',NULL,NULL,NULL,NULL,'["No fitting resources: memory"]','','',NULL,0,NULL,2);
INSERT INTO "jobs" VALUES('job-3','edc466fb08d8ebb2796882e4',3,0,1,2,'Scheduled',NULL,'[]',NULL,0,NULL,'slot1@mouse--3f8a-0001.example.org','mouse',1480000900,1480000200,'','/var/spool/condor/3','x509up_u1001','/C=CA/O=Grid/CN=Alice','/home/alice/x509up_u1001','12','myproxy.example.org','7512','alice-cred',NULL,'[]','','',NULL,0,NULL,2);
INSERT INTO "jobs" VALUES('job-4','ae23e344cb03057ffd75de8e',4,0,1,2,'Scheduled',NULL,'[]',NULL,0,NULL,'mouse--3f8a-0003.example.org','mouse',1480000900,1479999500,'',NULL,NULL,NULL,NULL,'12',NULL,NULL,NULL,NULL,'[]','','',NULL,0,NULL,2);
INSERT INTO "jobs" VALUES('job-5','ae23e344cb03057ffd75de8e',5,0,1,1,'Scheduled',NULL,'[]',NULL,0,NULL,NULL,'',0,0,'',NULL,NULL,NULL,NULL,'12',NULL,NULL,NULL,NULL,'[]','','',NULL,0,NULL,2);
INSERT INTO "jobs" VALUES('job-6','ae23e344cb03057ffd75de8e',6,0,1,5,'Unscheduled','BadRequirements','[]',NULL,1,1480000300.0,NULL,'',0,0,'',NULL,NULL,NULL,NULL,'12',NULL,NULL,NULL,NULL,'["Image not found on mouse"]','','',NULL,0,NULL,2);
INSERT INTO "jobs" VALUES('job-7','cf64bebec752c072372f490e',7,0,20,1,'Unscheduled',NULL,'[]',NULL,0,NULL,NULL,'',0,0,'',NULL,NULL,NULL,NULL,'12',NULL,NULL,NULL,NULL,'[]','','',NULL,0,NULL,2);
INSERT INTO "jobs" VALUES('job-8','cc82d5eaa8e595ee69fda4a7',8,0,1,2,'Scheduled',NULL,'[]',NULL,0,NULL,'ip-10-0-0-7','cheetah',0,0,'',NULL,NULL,NULL,NULL,'12',NULL,NULL,NULL,NULL,'[]','','',NULL,0,NULL,2);
INSERT INTO "jobs" VALUES('job-9','98b236d375e3cad9c11a7de4',9,0,1,4,'Scheduled',NULL,'[]',NULL,0,NULL,NULL,'a-cloud-with-a-very-long-name',0,0,'',NULL,NULL,NULL,NULL,'12',NULL,NULL,NULL,NULL,'[]','','',NULL,0,NULL,2);
INSERT INTO "jobs" VALUES('condor.heprc.example.org#10.0#1480000010','54d1700fc3aaabca929dca65',10,0,1,0,'Unscheduled',NULL,'["cheetah"]',1480000010,0,NULL,NULL,'',0,0,'',NULL,NULL,NULL,NULL,'12',NULL,NULL,NULL,NULL,'[]','','',NULL,0,NULL,2);
INSERT INTO "jobs" VALUES('condor.heprc.example.org#11.0#1480000011','a2197caef81fde4e0538b4c7',11,0,1,5,'Unscheduled',NULL,'[]',NULL,0,NULL,NULL,'',0,0,'',NULL,NULL,NULL,NULL,'12',NULL,NULL,NULL,NULL,'[]','','',NULL,0,NULL,2);
INSERT INTO "jobs" VALUES('condor.heprc.example.org#12.0#1480000012','0032a826dbd145d18c9d3d1c',12,3,1,2,'Scheduled',NULL,'[]',NULL,0,NULL,NULL,'test/name?x#y',0,0,'slot1@host-8.example.net',NULL,NULL,NULL,NULL,'12',NULL,NULL,NULL,NULL,'[]','','',NULL,0,NULL,2);
INSERT INTO "jobs" VALUES('a#1.0#1','a3c2df39a2f2f7fdc0b1fe82',0,0,0,0,'Unscheduled',NULL,'[]',NULL,0,NULL,NULL,'',0,0,'',NULL,NULL,NULL,NULL,'12',NULL,NULL,NULL,NULL,'["quota"]','','',3,0,NULL,2);
CREATE TABLE machines (
	name TEXT NOT NULL,
	machine_name TEXT NOT NULL,
	vm TEXT NOT NULL,
	job_id TEXT NOT NULL,
	global_job_id TEXT NOT NULL,
	address_startd TEXT NOT NULL,
	address_master TEXT NOT NULL,
	state TEXT NOT NULL,
	activity TEXT NOT NULL,
	vmtype TEXT NOT NULL,
	"current_time" INTEGER NOT NULL,
	entered_state_time INTEGER NOT NULL,
	start_req TEXT NOT NULL,
	remote_owner TEXT NOT NULL,
	slot_type TEXT NOT NULL,
	total_slots INTEGER NOT NULL,
	retiring BOOLEAN NOT NULL,
	revision INTEGER NOT NULL,
	PRIMARY KEY (name)
);
INSERT INTO "machines" VALUES('slot1@lost-1.example.org','lost-1.example.org','','','','<192.0.2.77:40001>','','Unclaimed','Idle','',0,0,'','','',1,0,2);
INSERT INTO "machines" VALUES('slot1@x','x','','','','','','Unclaimed','Idle','',0,0,'','','',1,1,2);
CREATE TABLE operations (
	id INTEGER NOT NULL,
	verb TEXT NOT NULL,
	actor TEXT NOT NULL,
	request_id TEXT NOT NULL,
	reason TEXT NOT NULL,
	made_at INTEGER NOT NULL,
	PRIMARY KEY (id)
);
INSERT INTO "operations" VALUES(1,'submit','root','request-1','because',100);
INSERT INTO "operations" VALUES(2,'submit','root','request-1','because',100);
INSERT INTO "operations" VALUES(3,'disable','root','request-1','because',100);
INSERT INTO "operations" VALUES(4,'enable','root','request-1','because',100);
INSERT INTO "operations" VALUES(5,'allocations','root','request-1','because',100);
INSERT INTO "operations" VALUES(6,'retire','root','request-1','because',100);
CREATE TABLE outcomes (
	wish INTEGER NOT NULL,
	state TEXT NOT NULL,
	detail TEXT NOT NULL,
	settled_at INTEGER NOT NULL,
	PRIMARY KEY (wish)
);
INSERT INTO "outcomes" VALUES(2,'done','{"cluster":4}',1795314544);
INSERT INTO "outcomes" VALUES(6,'failed','{"error":"no"}',1795314544);
CREATE TABLE polls (
	name TEXT NOT NULL,
	interval_seconds FLOAT NOT NULL,
	ok_at FLOAT,
	failed_at FLOAT,
	seconds FLOAT NOT NULL,
	error TEXT NOT NULL,
	PRIMARY KEY (name)
);
INSERT INTO "polls" VALUES('VMPoller:ü',5.0,99.5,100.0,0.25,'no answer');
CREATE TABLE queue_counters (
	id INTEGER NOT NULL,
	cluster INTEGER NOT NULL,
	change INTEGER NOT NULL,
	PRIMARY KEY (id)
);
INSERT INTO "queue_counters" VALUES(1,4,7);
CREATE TABLE queue_gone (
	id TEXT NOT NULL,
	change INTEGER NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE queue_jobs (
	seq INTEGER NOT NULL,
	id TEXT NOT NULL,
	cluster_id INTEGER NOT NULL,
	proc_id INTEGER NOT NULL,
	shape TEXT NOT NULL,
	priority INTEGER NOT NULL,
	job_status INTEGER NOT NULL,
	spec TEXT NOT NULL,
	hold_reason TEXT NOT NULL,
	exit_code INTEGER,
	submitted_at INTEGER NOT NULL,
	started_at INTEGER,
	finished_at INTEGER,
	vm TEXT,
	slot INTEGER,
	attempt INTEGER NOT NULL,
	change INTEGER NOT NULL,
	PRIMARY KEY (seq),
	UNIQUE (id)
);
INSERT INTO "queue_jobs" VALUES(1,'vm#1.0#100',1,0,'a3c2df39a2f2f7fdc0b1fe82',2,2,'{"arguments":["1","ü"],"environment":{"PASSWORD":"hunter2"},"executable":"/bin/run"}','',NULL,100,103,NULL,'vm1',1,1,4);
INSERT INTO "queue_jobs" VALUES(2,'vm#1.1#100',1,1,'a3c2df39a2f2f7fdc0b1fe82',2,1,'{"arguments":["1","ü"],"environment":{"PASSWORD":"hunter2"},"executable":"/bin/run"}','',NULL,100,NULL,NULL,NULL,NULL,0,1);
INSERT INTO "queue_jobs" VALUES(3,'vm#2.0#101',2,0,'a3c2df39a2f2f7fdc0b1fe82',1,1,'{"arguments":["2","ü"],"environment":{},"executable":"/bin/run"}','',NULL,101,NULL,NULL,NULL,NULL,0,2);
INSERT INTO "queue_jobs" VALUES(4,'vm#3.0#102',3,0,'a3c2df39a2f2f7fdc0b1fe82',2,5,'{"arguments":["3","ü"],"environment":{"PASSWORD":"hunter2"},"executable":"/bin/run"}','held',NULL,102,NULL,NULL,NULL,NULL,0,3);
INSERT INTO "queue_jobs" VALUES(5,'vm#4.0#104',4,0,'a3c2df39a2f2f7fdc0b1fe82',9,4,'{"arguments":["4","ü"],"environment":{"PASSWORD":"hunter2"},"executable":"/bin/run"}','',0,104,105,106,NULL,NULL,1,7);
CREATE TABLE queue_orders (
	token TEXT NOT NULL,
	answer TEXT NOT NULL,
	made_at INTEGER NOT NULL,
	PRIMARY KEY (token)
);
INSERT INTO "queue_orders" VALUES('wish-1','{"cluster":1,"jobs":2}',100);
INSERT INTO "queue_orders" VALUES('wish-2','{"cluster":2,"jobs":1}',101);
INSERT INTO "queue_orders" VALUES('wish-3','{"cluster":3,"jobs":1}',102);
INSERT INTO "queue_orders" VALUES('wish-4','{"cluster":4,"jobs":1}',104);
CREATE TABLE queue_shapes (
	"key" TEXT NOT NULL,
	shape TEXT NOT NULL,
	PRIMARY KEY ("key")
);
INSERT INTO "queue_shapes" VALUES('a3c2df39a2f2f7fdc0b1fe82','{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.5,"proxy_non_boot":false,"req_ami":{"c":"j","default":"i"},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"default","target_clouds":["a","b"],"user":"alice","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}');
CREATE TABLE settings (
	name TEXT NOT NULL,
	value TEXT NOT NULL,
	revision INTEGER NOT NULL,
	PRIMARY KEY (name)
);
INSERT INTO "settings" VALUES('log_level','"DEBUG"',2);
INSERT INTO "settings" VALUES('quick_exit','null',2);
CREATE TABLE shapes (
	"key" TEXT NOT NULL,
	shape TEXT NOT NULL,
	reasons TEXT NOT NULL,
	blocks TEXT NOT NULL,
	revision INTEGER NOT NULL,
	PRIMARY KEY ("key")
);
INSERT INTO "shapes" VALUES('0032a826dbd145d18c9d3d1c','{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":false,"req_ami":{"default":""},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"default","target_clouds":[],"user":"carol","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}','[]','{}',2);
INSERT INTO "shapes" VALUES('54d1700fc3aaabca929dca65','{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":false,"req_ami":{"default":""},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"default","target_clouds":[],"user":"alice","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}','[]','{}',2);
INSERT INTO "shapes" VALUES('869de1e6be17c33e0cc81ebe','{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":false,"req_ami":{"default":""},"req_cpucores":4,"req_image":"Default-Image","req_image_id":null,"req_memory":8192,"req_network":"","req_security_group":[""],"req_storage":80,"req_vmtype":"atlas-worker","target_clouds":[],"user":"alice","user_data":[],"usertype_limit":3,"vmimage_proxy_file":null}','[]','{}',2);
INSERT INTO "shapes" VALUES('98b236d375e3cad9c11a7de4','{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":false,"req_ami":{"default":""},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"a-vmtype-with-a-very-long-name","target_clouds":[],"user":"a-user-with-a-very-long-name","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}','[]','{}',2);
INSERT INTO "shapes" VALUES('a2197caef81fde4e0538b4c7','{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":true,"req_ami":{"default":""},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"belle2","target_clouds":[],"user":"bob","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":"/tmp/p"}','[]','{}',2);
INSERT INTO "shapes" VALUES('a3c2df39a2f2f7fdc0b1fe82','{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.5,"proxy_non_boot":false,"req_ami":{"c":"j","default":"i"},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"default","target_clouds":["a","b"],"user":"alice","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}','["no cloud has room","said \"no\""]','{"c":[9000,"image failed"]}',2);
INSERT INTO "shapes" VALUES('ae23e344cb03057ffd75de8e','{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":false,"req_ami":{"default":""},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"belle2","target_clouds":[],"user":"bob","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}','[]','{}',2);
INSERT INTO "shapes" VALUES('b825ad29674f5b045e79dfae','{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":"m3.xlarge","mouse":"m1.large"},"job_per_core":false,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":false,"req_ami":{"cheetah":"ami-1234abcd","mouse":"atlas-worker-5.11"},"req_cpucores":4,"req_image":"Default-Image","req_image_id":null,"req_memory":8192,"req_network":"private","req_security_group":[""],"req_storage":80,"req_vmtype":"atlas-worker","target_clouds":["mouse","west"],"user":"alice","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}','[]','{}',2);
INSERT INTO "shapes" VALUES('cc82d5eaa8e595ee69fda4a7','{"ami_config":[],"high_priority":2,"inject_ca":true,"instance_type":{"default":""},"job_per_core":true,"keep_alive":0,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":false,"req_ami":{"default":""},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"atlas-worker","target_clouds":[],"user":"carol","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}','[]','{}',2);
INSERT INTO "shapes" VALUES('cf64bebec752c072372f490e','{"ami_config":[],"high_priority":1,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":0,"key_name":"carolkey","location":"us-east-1a","maximum_price":0.25,"proxy_non_boot":false,"req_ami":{"default":""},"req_cpucores":1,"req_image":"Default-Image","req_image_id":"img-7","req_memory":512,"req_network":"","req_security_group":["default","condor"],"req_storage":0,"req_vmtype":"default","target_clouds":[],"user":"carol","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}','[]','{}',2);
INSERT INTO "shapes" VALUES('edc466fb08d8ebb2796882e4','{"ami_config":[],"high_priority":0,"inject_ca":true,"instance_type":{"default":""},"job_per_core":false,"keep_alive":3600,"key_name":null,"location":null,"maximum_price":0.0,"proxy_non_boot":false,"req_ami":{"default":""},"req_cpucores":1,"req_image":"Default-Image","req_image_id":null,"req_memory":512,"req_network":"","req_security_group":[""],"req_storage":0,"req_vmtype":"atlas-worker","target_clouds":[],"user":"alice","user_data":[],"usertype_limit":-1,"vmimage_proxy_file":null}','[]','{}',2);
CREATE TABLE state (
	id INTEGER NOT NULL,
	schema_version INTEGER NOT NULL,
	"index" INTEGER NOT NULL,
	clouds INTEGER NOT NULL,
	vms INTEGER NOT NULL,
	jobs INTEGER NOT NULL,
	shapes INTEGER NOT NULL,
	machines INTEGER NOT NULL,
	limits INTEGER NOT NULL,
	wishes INTEGER NOT NULL,
	outcomes INTEGER NOT NULL,
	verbs INTEGER NOT NULL,
	oldest INTEGER NOT NULL,
	engine_epoch INTEGER NOT NULL,
	PRIMARY KEY (id)
);
INSERT INTO "state" VALUES(1,1,9,2,2,2,2,2,2,8,9,9,1,0);
CREATE TABLE tallies (
	"key" TEXT NOT NULL,
	value FLOAT NOT NULL,
	revision INTEGER NOT NULL,
	PRIMARY KEY ("key")
);
INSERT INTO "tallies" VALUES('["cloudsched_boots_total", "\u00fc"]',3.0,2);
INSERT INTO "tallies" VALUES('["cloudsched_idle", "x"]',0.5,2);
CREATE TABLE tombstones (
	topic TEXT NOT NULL,
	"key" TEXT NOT NULL,
	revision INTEGER NOT NULL,
	PRIMARY KEY (topic, "key")
);
CREATE TABLE user_limits (
	user TEXT NOT NULL,
	vms INTEGER NOT NULL,
	revision INTEGER NOT NULL,
	PRIMARY KEY (user)
);
INSERT INTO "user_limits" VALUES('bob',2,2);
INSERT INTO "user_limits" VALUES('carol',50,2);
CREATE TABLE vms (
	uid TEXT NOT NULL,
	cloud TEXT NOT NULL,
	id TEXT NOT NULL,
	name TEXT NOT NULL,
	spot_id TEXT NOT NULL,
	vmtype TEXT NOT NULL,
	user TEXT NOT NULL,
	hostname TEXT NOT NULL,
	alt_hostname TEXT,
	ipaddress TEXT NOT NULL,
	ssh_port INTEGER NOT NULL,
	status TEXT NOT NULL,
	override_status TEXT,
	cloudtype TEXT NOT NULL,
	clusteraddr TEXT NOT NULL,
	clusterport TEXT NOT NULL,
	network TEXT,
	image TEXT NOT NULL,
	flavor TEXT NOT NULL,
	memory INTEGER NOT NULL,
	cpucores INTEGER NOT NULL,
	storage INTEGER NOT NULL,
	keep_alive INTEGER NOT NULL,
	job_per_core BOOLEAN NOT NULL,
	initialize_time INTEGER NOT NULL,
	last_state_change INTEGER,
	startup_time INTEGER,
	lastpoll INTEGER,
	idle_start INTEGER,
	errorcount INTEGER NOT NULL,
	errorconnect FLOAT,
	condorname TEXT,
	condoraddr TEXT,
	condormasteraddr TEXT,
	proxy_file TEXT,
	myproxy_creds_name TEXT,
	myproxy_server TEXT,
	myproxy_server_port TEXT,
	myproxy_renew_time TEXT NOT NULL,
	x509userproxy_expiry_time TEXT NOT NULL,
	force_retire BOOLEAN NOT NULL,
	failed_retire BOOLEAN NOT NULL,
	job_run_times TEXT NOT NULL,
	position INTEGER NOT NULL,
	shape TEXT NOT NULL,
	retired BOOLEAN NOT NULL,
	released BOOLEAN NOT NULL,
	destroying BOOLEAN NOT NULL,
	reason TEXT NOT NULL,
	requested_until INTEGER,
	revision INTEGER NOT NULL,
	PRIMARY KEY (uid)
);
INSERT INTO "vms" VALUES('vm-mouse-1','mouse','a1b2c3d4-0000-4000-8000-000000000001','vm-mouse-1','','atlas-worker','alice','mouse--3f8a-0001',NULL,'206.12.154.10',22,'Running',NULL,'OpenStackNative','https://mouse.example.org:5000/v3','','private','{"default":"cernvm-4","mouse":"atlas-worker-5.11"}','m1.large',8192,4,80,3600,0,1480000000,1480000145,145,1480000900,NULL,0,NULL,'slot1@mouse--3f8a-0001.example.org','<206.12.154.10:40001?noUDP>','<206.12.154.10:40002?noUDP>','/tmp/x509up_u1001','alice-cred','myproxy.example.org','7512','12','2016-11-25 03:06:40',0,0,'[3600,4200,3905]',0,'',0,0,0,'',NULL,2);
INSERT INTO "vms" VALUES('vm-mouse-2','mouse','a1b2c3d4-0000-4000-8000-000000000002','vm-mouse-2','','atlas-worker','alice','mouse--3f8a-0002',NULL,'10.10.3.4',22,'Starting',NULL,'OpenStackNative','https://mouse.example.org:5000/v3','','private','{"default":"cernvm-4","mouse":"atlas-worker-5.11"}','m1.large',8192,4,80,0,0,1480000800,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'12','None',0,0,'[]',1,'',0,0,0,'',NULL,2);
INSERT INTO "vms" VALUES('vm-mouse-3','mouse','a1b2c3d4-0000-4000-8000-000000000003','vm-mouse-3','','belle2','bob','mouse--3f8a-0003',NULL,'172.20.1.5',22,'Running','Retiring','OpenStackNative','https://mouse.example.org:5000/v3','','private','{"default":"belle-2"}','m1.small',2048,1,20,0,0,1479913600,1479913801,201,1480000890,NULL,1,NULL,'mouse--3f8a-0003.example.org','<172.20.1.5:40001>','<172.20.1.5:40002>',NULL,NULL,NULL,NULL,'12','None',1,0,'[180,240,300,360,420,480,540,600,660,720]',2,'',0,0,0,'',NULL,2);
INSERT INTO "vms" VALUES('vm-mouse-4','mouse','a1b2c3d4-0000-4000-8000-000000000004','vm-mouse-4','','belle2','bob','mouse--3f8a-0004',NULL,'142.104.110.7',22,'Error',NULL,'OpenStackNative','https://mouse.example.org:5000/v3','','private','{"default":"belle-2"}','m1.small',2048,1,20,0,0,1479992800,NULL,NULL,NULL,NULL,6,1480000850.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'12','None',0,0,'[]',3,'',0,0,0,'',NULL,2);
INSERT INTO "vms" VALUES('vm-mouse-5','mouse','testvm','vm-mouse-5','','atlas-worker','dave-with-a-long-username','mouse--3f8a-0005',NULL,'198.51.100.25',2222,'Running',NULL,'OpenStackNative','https://mouse.example.org:5000/v3','','','{"default":"cernvm-4","mouse":"atlas-worker-5.11"}','m1.large',4096,2,40,0,1,1480000100,NULL,99,1480000901,1480000700,0,NULL,'slot1@mouse--3f8a-0005','<198.51.100.25:40001>','<198.51.100.25:40002>',NULL,NULL,NULL,NULL,'12','None',0,0,'[1]',4,'',0,0,0,'',NULL,2);
INSERT INTO "vms" VALUES('vm-cheetah-1','cheetah','i-0a1b2c3d4e5f67890','vm-cheetah-1','sir-abcd1234','atlas-worker','carol','ec2-54-10-20-30.compute.example.com',NULL,'54.10.20.30',22,'Running',NULL,'AmazonEC2','ec2.example.com','','public','"ami-1234abcd"','m3.xlarge',15360,4,80,0,0,1480000050,NULL,310,1480000880,NULL,0,NULL,'ip-10-0-0-7','<10.0.0.7:40666>','<10.0.0.7:40666>',NULL,NULL,NULL,NULL,'12','None',0,0,'[]',5,'',0,0,0,'',NULL,2);
INSERT INTO "vms" VALUES('vm-cheetah-2','cheetah','','vm-cheetah-2','sir-00000002','default','carol','',NULL,'',22,'Starting',NULL,'AmazonEC2','ec2.example.com','','public','"ami-1234abcd"','m3.medium',3840,1,10,0,0,1480000870,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'12','None',0,0,'[]',6,'',0,0,0,'',NULL,2);
INSERT INTO "vms" VALUES('vm-test-1','test/name?x#y','vm/8.x?a#b','vm-test-1','','default','alice','host-8.example.net',NULL,'203.0.113.8',22,'Running','ExpiredProxy','OpenStack','nova.example.net','','public','"ami-00000008"','m1.tiny',512,1,5,0,0,1479996400,NULL,55,NULL,NULL,0,NULL,'host-8.example.net','<203.0.113.8:9618>','<203.0.113.8:9619>',NULL,NULL,NULL,NULL,'12','None',0,1,'[]',7,'',0,0,0,'',NULL,2);
INSERT INTO "vms" VALUES('odd/ü ''name''','mouse','','Default-Image','','default','','',NULL,'',22,'Starting',NULL,'','','',NULL,'{"c":["x"]}','',0,1,0,0,0,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'12','None',0,0,'[]',0,'',0,0,0,'',NULL,2);
CREATE TABLE wishes (
	id INTEGER NOT NULL,
	operation INTEGER NOT NULL,
	kind TEXT NOT NULL,
	name TEXT NOT NULL,
	aspect TEXT NOT NULL,
	value TEXT NOT NULL,
	made_at INTEGER NOT NULL,
	reason TEXT NOT NULL,
	superseded_by INTEGER,
	PRIMARY KEY (id)
);
INSERT INTO "wishes" VALUES(1,1,'jobs','alice','submit','{"initialdir":"/home","owner":"alice","submit":"executable = /bin/run\nenvironment = SECRET=swordfish\nqueue\n"}',100,'because',NULL);
INSERT INTO "wishes" VALUES(2,2,'jobs','alice','submit','{"initialdir":"/home","owner":"alice","submit":"executable = swordfish\nqueue\n"}',100,'because',NULL);
INSERT INTO "wishes" VALUES(3,3,'cloud','mouse','enabled','false',100,'because',4);
INSERT INTO "wishes" VALUES(4,4,'cloud','mouse','enabled','true',100,'because',NULL);
INSERT INTO "wishes" VALUES(5,5,'cloud','mouse','vm_slots','{"file":10,"slots":77}',100,'because',NULL);
INSERT INTO "wishes" VALUES(6,6,'vm','odd/ü ''name''','retire','{"id":""}',100,'because',NULL);
INSERT INTO "wishes" VALUES(7,6,'vm','vm-mouse-1','retire','{"id":"a1b2c3d4-0000-4000-8000-000000000001"}',100,'because',NULL);
INSERT INTO "wishes" VALUES(8,6,'vm','vm-mouse-2','retire','{"id":"a1b2c3d4-0000-4000-8000-000000000002"}',100,'because',NULL);
INSERT INTO "wishes" VALUES(9,6,'vm','vm-mouse-3','retire','{"id":"a1b2c3d4-0000-4000-8000-000000000003"}',100,'because',NULL);
INSERT INTO "wishes" VALUES(10,6,'vm','vm-mouse-4','retire','{"id":"a1b2c3d4-0000-4000-8000-000000000004"}',100,'because',NULL);
INSERT INTO "wishes" VALUES(11,6,'vm','vm-mouse-5','retire','{"id":"testvm"}',100,'because',NULL);
CREATE INDEX ix_clouds_revision ON clouds (revision);
CREATE INDEX ix_vms_position ON vms (position);
CREATE INDEX ix_vms_cloud ON vms (cloud);
CREATE INDEX ix_vms_id ON vms (id);
CREATE INDEX ix_vms_revision ON vms (revision);
CREATE INDEX ix_departed_cloud ON departed (cloud);
CREATE INDEX ix_shapes_revision ON shapes (revision);
CREATE INDEX jobs_group ON jobs (shape, priority, job_status, status, banned, blocked_clouds);
CREATE INDEX ix_jobs_revision ON jobs (revision);
CREATE INDEX jobs_number ON jobs (cluster_id, proc_id);
CREATE INDEX ix_machines_revision ON machines (revision);
CREATE INDEX ix_user_limits_revision ON user_limits (revision);
CREATE INDEX ix_cloud_aliases_revision ON cloud_aliases (revision);
CREATE INDEX ix_banned_images_revision ON banned_images (revision);
CREATE INDEX ix_settings_revision ON settings (revision);
CREATE INDEX ix_tallies_revision ON tallies (revision);
CREATE INDEX ix_tombstones_revision ON tombstones (revision);
CREATE INDEX wishes_target ON wishes (kind, name, aspect);
CREATE INDEX ix_wishes_operation ON wishes (operation);
CREATE INDEX ix_queue_jobs_change ON queue_jobs (change);
CREATE INDEX ix_queue_jobs_job_status ON queue_jobs (job_status);
CREATE INDEX queue_number ON queue_jobs (cluster_id, proc_id);
CREATE INDEX ix_queue_jobs_shape ON queue_jobs (shape);
CREATE INDEX ix_queue_gone_change ON queue_gone (change);
COMMIT;
